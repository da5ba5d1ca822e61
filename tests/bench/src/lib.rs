//! Measures Meridian at the work of the leading peer, on real control planes.
//!
//! All runs use one test bed at a time and one release build, one run after the other. The benchmark asserts no figure:
//! it prints the measured values and writes them to `docs/figures.md`.

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
