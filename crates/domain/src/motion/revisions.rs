//! A new revision goes cell by cell: the next only when the previous is ready, members of a pair never together.

use serde::{Deserialize, Serialize};
use vocabulary::{CellName, Verdict};

/// One cell that holds objects of the application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CellRollout {
    /// Cell.
    pub cell: CellName,
    /// Its objects are told what is wanted: the revision, and what they take from the cell.
    pub is_current: bool,
    /// Whether everything told to the cell is delivered, worked out and available. Unknown when facts are stale.
    pub settled: Verdict,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rollout {
    /// Every cell runs what is wanted.
    Done,
    /// This cell is to run it now.
    Advance(CellName),
    /// These cells were told already and are not ready: the next one waits for them.
    WaitFor(Vec<CellName>),
}

/// Chooses the next cell for a revision, or another change that restarts pods. One cell is in motion at a time, so the two of a pair never are together.
/// Cells are taken in the order of their names; those nothing is known of are passed over until they answer, so that a
/// silent member holds nobody up. One that was told and then fell silent does: Unknown is not ready.
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
