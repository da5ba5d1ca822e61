//! Decides how a release brings a revision to the cells of an Application. Pure.
//!
//! 1. `strategy`: checks `spec.release` and completes it.
//! 2. `division`: divides a cumulative share exactly over cells.
//! 3. `waves`: keeps the two cells of a pair apart.
//! 4. `goal`: says what each cell is to run at the end of a step.
//! 5. `advance`: asks for the next cells, one wave after the other.

mod advance;
mod division;
mod goal;
mod strategy;
mod waves;

pub use advance::{Next, Scope, advance};
pub use division::{CellShare, divide};
pub use goal::{Asked, Goal, ReleaseCell, wanted};
pub use strategy::{Share, Strategy, check_release};
pub use waves::{PairPlace, Wave, waves};

#[cfg(test)]
mod tests;
