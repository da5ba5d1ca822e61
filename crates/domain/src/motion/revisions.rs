//! Rolls out a new revision cell by cell: the next cell starts only when the previous one is ready.
//!
//! The two cells of a pair are never in motion together.

use serde::{Deserialize, Serialize};
use vocabulary::{CellName, Verdict};

/// Rollout state of a cell that holds objects of the Application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CellRollout {
    /// Name of the cell.
    pub cell: CellName,
    /// Whether the cell's rows carry the wanted revision and the wanted inputs from the cell.
    pub is_current: bool,
    /// Whether all rows of the cell are delivered, rolled out and available.
    ///
    /// Unknown when observations are stale.
    pub settled: Verdict,
}

/// Next step of a rollout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rollout {
    /// Every cell was given the wanted revision. The last cells may not be ready yet.
    Done,
    /// Give this cell the wanted revision now.
    Advance(CellName),
    /// Wait for these cells, which are silent or already have the wanted revision but are not ready.
    WaitFor(Vec<CellName>),
}

/// Chooses the next cell for a revision, or for another change that restarts pods.
///
/// One cell is in motion at a time, so the two cells of a pair never are together. Cells are taken in the order of
/// their names.
///
/// Cells in an unknown state are skipped until they answer, so that a silent member delays no other cell. A cell that
/// was given the revision and then fell silent does delay the next one: Unknown is not ready.
pub fn advance(cells: &[CellRollout]) -> Rollout {
    let waiting: Vec<CellName> = cells
        .iter()
        .filter(|cell| cell.is_current && cell.settled != Verdict::Pass)
        .map(|cell| cell.cell.clone())
        .collect();
    let (silent, answering): (Vec<&CellRollout>, Vec<&CellRollout>) =
        cells.iter().filter(|cell| !cell.is_current).partition(|cell| cell.settled == Verdict::Unknown);
    if !waiting.is_empty() && silent.len() + answering.len() > 0 {
        return Rollout::WaitFor(waiting);
    }
    match answering.into_iter().map(|cell| &cell.cell).min() {
        Some(cell) => Rollout::Advance(cell.clone()),
        None if silent.is_empty() => Rollout::Done,
        None => Rollout::WaitFor(silent.into_iter().map(|cell| cell.cell.clone()).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_goes_cell_by_cell_and_unknown_is_not_ready() {
        let (old, new) = (false, true);
        let cell = |name: &str, is_current, settled| CellRollout { cell: name.parse().unwrap(), is_current, settled };
        let name = |name: &str| name.parse::<CellName>().unwrap();
        use Verdict::{Fail, Pass, Unknown};
        for (cells, expected) in [
            (vec![cell("b", old, Pass), cell("a", old, Pass)], Rollout::Advance(name("a"))),
            (vec![cell("a", new, Fail), cell("b", old, Pass)], Rollout::WaitFor(vec![name("a")])),
            (vec![cell("a", new, Unknown), cell("b", old, Pass)], Rollout::WaitFor(vec![name("a")])),
            (vec![cell("a", new, Pass), cell("b", old, Fail)], Rollout::Advance(name("b"))),
            (vec![cell("a", new, Fail), cell("b", new, Pass)], Rollout::Done),
            (vec![cell("a", old, Unknown), cell("b", old, Pass)], Rollout::Advance(name("b"))),
            (vec![cell("a", old, Unknown), cell("b", new, Pass)], Rollout::WaitFor(vec![name("a")])),
        ] {
            assert_eq!(advance(&cells), expected, "{cells:?}");
        }
    }
}
