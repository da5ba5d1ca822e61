//! What objects take from a cell, as the cell is told and as it is to be. Pure.

use domain::placement::zone_spread;
use domain::render::cell_inputs;
use domain::stored_revision::StoredRevision;
use domain::topology::{CellFacts, CellState};
use vocabulary::{CellInputs, CellName, PlaceInputs};

use crate::gather::AppFacts;
use crate::world::World;

/// What objects take from a cell. It restarts pods, so it changes cell by cell, as a revision does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// As the cell is told; of the revision that the cell runs.
    pub(crate) told: PlaceInputs,
    /// As the cell is now; of the wanted revision.
    pub(crate) wanted: PlaceInputs,
}

impl Told {
    /// A cell that nothing was told yet is told what it is.
    pub(crate) fn of(world: &World, facts: &AppFacts, wanted: &StoredRevision, cell: &CellName) -> Self {
        let held = facts.cells.get(cell);
        let now = world.topology.cells.get(cell).map(|cell| inputs_now(world, facts, wanted, cell));
        let Some(held) = held else {
            let now = now.map(|(_, now)| now).unwrap_or_default();
            return Self { told: now.clone(), wanted: now };
        };
        let by_held = || {
            let run = facts.revisions.get(&held.revision)?;
            world.topology.cells.get(cell).map(|cell| inputs_now(world, facts, run, cell).1)
        };
        let told = held.inputs.clone().or_else(by_held).unwrap_or_default();
        let wanted = match now {
            // Where its pods are to be is not known.
            None => told.clone(),
            Some((CellState::Misdeclared, now)) => {
                let overrides = now.cell.overrides;
                PlaceInputs { cell: CellInputs { overrides, ..told.cell.clone() }, cluster: now.cluster }
            }
            Some((_, now)) => now,
        };
        Self { told, wanted }
    }
}

fn inputs_now(
    world: &World,
    facts: &AppFacts,
    revision: &StoredRevision,
    cell: &CellFacts,
) -> (CellState, PlaceInputs) {
    let implicit = world.topology.cells.get(cell.cluster.as_str()).unwrap_or(cell);
    let spread = zone_spread(&facts.intent.placement, cell);
    let rules = &revision.overrides;
    (cell.state, PlaceInputs { cell: cell_inputs(rules, cell, spread), cluster: cell_inputs(rules, implicit, None) })
}
