//! Says what each cell is to run at the end of a step.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use vocabulary::CellName;

use super::division::{CellShare, divide};
use super::strategy::Share;
use super::waves::Wave;

/// Slots of a cell that a release gives its revision.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Asked {
    /// Replicas that run the revision in the gray slot.
    pub gray: i32,
    /// The main slot runs the revision.
    pub main: bool,
}

/// A cell of the Application, as a release sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseCell {
    /// Replicas of the cell over both slots.
    pub target: i32,
    /// Slots that the release gives its revision now. A cell that holds the revision by itself counts as asked.
    pub asked: Asked,
    /// Wave of the cell.
    pub wave: Wave,
    /// The cell runs what is asked of it.
    pub is_there: bool,
}

impl ReleaseCell {
    /// Returns the replicas that run the revision once the cell is there.
    fn released(&self) -> i32 {
        if self.asked.main { self.target } else { self.asked.gray.clamp(0, self.target) }
    }
}

/// Goal of one step of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Goal {
    /// One replica of each cell runs the revision.
    Beta,
    /// A cumulative share of the replicas runs the revision, divided over all cells.
    Share(Share),
    /// The main slot runs the revision, and the gray slot stays.
    Promote,
    /// The main slot runs the revision, and the gray slot is empty.
    Return,
    /// Whole cells run the revision: the first ones by name, as far as a cumulative share covers them.
    Whole(Share),
    /// These cells run the revision, without a gray slot.
    Cells(Vec<CellName>),
}

/// Returns what a goal asks of the cells of one wave.
///
/// Cells of other waves keep what they have. A cell is never asked for less than before, except where it has fewer
/// replicas now, and where its main slot takes over.
pub fn wanted(cells: &BTreeMap<CellName, ReleaseCell>, goal: &Goal, wave: Wave) -> BTreeMap<CellName, Asked> {
    let in_wave = || cells.iter().filter(|(_, cell)| cell.wave == wave);
    let of_each = |ask: &dyn Fn(&ReleaseCell) -> Asked| -> BTreeMap<CellName, Asked> {
        in_wave().map(|(name, cell)| (name.clone(), ask(cell))).collect()
    };
    let whole = Asked { gray: 0, main: true };
    match goal {
        Goal::Beta => of_each(&|cell| {
            let beta = Asked { gray: cell.released().max(cell.target.min(1)), main: false };
            if cell.asked.main { cell.asked } else { beta }
        }),
        Goal::Share(share) => {
            let total: i64 = cells.values().map(|cell| i64::from(cell.target)).sum();
            let share = share.of(i32::try_from(total).unwrap_or(i32::MAX));
            let divided = divide(&shares(cells, wave), share);
            let gray = |name: &CellName| divided.get(name).copied().unwrap_or_default();
            in_wave()
                .map(|(name, cell)| {
                    let asked = if cell.asked.main { cell.asked } else { Asked { gray: gray(name), main: false } };
                    (name.clone(), asked)
                })
                .collect()
        }
        Goal::Promote => of_each(&|cell| {
            let promoted = Asked { gray: cell.released(), main: true };
            if cell.asked.main { cell.asked } else { promoted }
        }),
        Goal::Return => of_each(&|_| whole),
        Goal::Whole(share) => {
            let covered = covered(cells, *share);
            in_wave().filter(|(name, _)| covered.contains(name)).map(|(name, _)| (name.clone(), whole)).collect()
        }
        Goal::Cells(names) => {
            in_wave().filter(|(name, _)| names.contains(name)).map(|(name, _)| (name.clone(), whole)).collect()
        }
    }
}

/// Bounds of a division for one wave. Cells that had their turn are fixed, and those of a later wave take their part then.
fn shares(cells: &BTreeMap<CellName, ReleaseCell>, wave: Wave) -> Vec<CellShare> {
    let bounds = |(name, cell): (&CellName, &ReleaseCell)| {
        let least = cell.released();
        let is_fixed = cell.asked.main || cell.wave < wave;
        CellShare {
            cell: name.clone(),
            target: cell.target,
            least,
            most: if is_fixed { least } else { cell.target.max(least) },
        }
    };
    cells.iter().map(bounds).collect()
}

/// Returns the first cells by name that a cumulative share covers as a whole. All replicas cover all cells.
fn covered(cells: &BTreeMap<CellName, ReleaseCell>, share: Share) -> Vec<&CellName> {
    let total: i64 = cells.values().map(|cell| i64::from(cell.target)).sum();
    let share = i64::from(share.of(i32::try_from(total).unwrap_or(i32::MAX)));
    let mut reached = 0;
    let mut fits = |(_, cell): &(&CellName, &ReleaseCell)| {
        reached += i64::from(cell.target);
        reached <= share
    };
    cells.iter().take_while(|entry| fits(entry)).map(|(name, _)| name).collect()
}
