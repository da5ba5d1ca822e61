//! Measures Meridian at the work of the leading peer, on real control planes: one bed, one release build, one run
//! after the other. Nothing here asserts a figure; what is measured is printed and written to `docs/figures.md`.

mod audit;
mod catalogue;
mod figures;
mod installation;
mod load;
mod page;
mod processes;
mod scenarios;
mod spread;
mod witness;

pub use figures::{Figures, Runs};
pub use installation::Installation;
pub use page::write_page;
pub use scenarios::{Scale, Scenario, run};
