//! Stored decisions about the cells of an application. Pure.

use std::collections::BTreeMap;

use store::{CellDecisionRow, Slot};
use vocabulary::{CellName, ContentHash, PlaceInputs};

/// Stored decisions of an application, by cell.
pub(crate) type HeldCells = BTreeMap<CellName, HeldCell>;

/// Stored decision about one cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeldCell {
    /// Replicas of both slots.
    pub(crate) target: i32,
    /// Revision of the main slot.
    pub(crate) revision: ContentHash,
    /// Values that objects take from the cell; `None` where an older version of the program decided.
    pub(crate) inputs: Option<PlaceInputs>,
}

/// Returns the stored decisions, by cell.
///
/// Unreadable rows are left out.
pub(crate) fn held_cells(rows: &[CellDecisionRow]) -> HeldCells {
    let main = rows.iter().filter(|row| row.slot == Slot::Main);
    let mut cells: HeldCells = main
        .filter_map(|row| {
            let held = HeldCell { target: row.target, revision: row.revision, inputs: row.inputs.clone() };
            Some((row.cell.parse().ok()?, held))
        })
        .collect();
    for row in rows.iter().filter(|row| row.slot == Slot::Gray) {
        if let Some(held) = cells.get_mut(row.cell.as_str()) {
            held.target = held.target.saturating_add(row.target);
        }
    }
    cells
}
