//! Plans the values that objects take from a cell: the assigned values and the wanted values. Pure.

use domain::placement::zone_spread;
use domain::render::cell_inputs;
use domain::stored_revision::StoredRevision;
use domain::topology::{CellFacts, CellState};
use vocabulary::{CellInputs, CellName, PlaceInputs};

use crate::fleet_snapshot::FleetSnapshot;
use crate::gather::AppSnapshot;

/// Values that objects take from a cell, as assigned and as wanted.
///
/// A change restarts pods, so it reaches cells one after the other, like a revision.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct InputsPlan {
    /// Values assigned to the cell, for the revision that the cell runs.
    pub(crate) current: PlaceInputs,
    /// Values of the cell as it is now, for the wanted revision.
    pub(crate) wanted: PlaceInputs,
}

impl InputsPlan {
    /// Plans the inputs of a cell. A cell without a stored decision gets the wanted inputs at once.
    pub(crate) fn of(snapshot: &FleetSnapshot, facts: &AppSnapshot, wanted: &StoredRevision, cell: &CellName) -> Self {
        let held = facts.cells.get(cell);
        let now = snapshot.topology.cells.get(cell).map(|cell| inputs_now(snapshot, facts, wanted, cell));
        let Some(held) = held else {
            let now = now.map(|(_, now)| now).unwrap_or_default();
            return Self { current: now.clone(), wanted: now };
        };
        let by_held = || {
            let run = facts.revisions.get(&held.revision)?;
            snapshot.topology.cells.get(cell).map(|cell| inputs_now(snapshot, facts, run, cell).1)
        };
        let current = held.inputs.clone().or_else(by_held).unwrap_or_default();
        let wanted = match now {
            // The topology lacks the cell, so the place of its pods cannot be read and the inputs stay.
            None => current.clone(),
            Some((CellState::Misdeclared, now)) => {
                let overrides = now.cell.overrides;
                PlaceInputs { cell: CellInputs { overrides, ..current.cell.clone() }, cluster: now.cluster }
            }
            Some((_, now)) => now,
        };
        Self { current, wanted }
    }
}

fn inputs_now(
    snapshot: &FleetSnapshot,
    facts: &AppSnapshot,
    revision: &StoredRevision,
    cell: &CellFacts,
) -> (CellState, PlaceInputs) {
    let implicit = snapshot.topology.cells.get(cell.cluster.as_str()).unwrap_or(cell);
    let spread = zone_spread(&facts.intent.placement, cell);
    let rules = &revision.overrides;
    (cell.state, PlaceInputs { cell: cell_inputs(rules, cell, spread), cluster: cell_inputs(rules, implicit, None) })
}
