//! What objects take from a cell, as the cell is told and as it is to be. Pure.

use domain::placement::zone_spread;
use domain::render::cell_inputs;
use domain::stored_revision::StoredRevision;
use domain::topology::{CellFacts, CellState};
use vocabulary::{CellInputs, CellName, PlaceInputs};

use crate::fleet_snapshot::FleetSnapshot;
use crate::gather::AppSnapshot;

/// What objects take from a cell. It restarts pods, so it changes cell by cell, as a revision does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct InputsPlan {
    /// As the cell is told; of the revision that the cell runs.
    pub(crate) current: PlaceInputs,
    /// As the cell is now; of the wanted revision.
    pub(crate) wanted: PlaceInputs,
}

impl InputsPlan {
    /// A cell that nothing was told yet is told what it is.
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
            // Where its pods are to be is not known.
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
