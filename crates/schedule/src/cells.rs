//! Which cells hold an application, with how many replicas of which revision. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use crds::application::v1alpha1::Scope;
use domain::motion::{CellRollout, Rollout, advance};
use domain::stored_revision::StoredRevision;
use domain::topology::CellState;
use store::{CellDecisionRow, DesiredState, PlacementRow, Slot};
use vocabulary::{CellName, ContentHash, Verdict};

use crate::cell_inputs::InputsPlan;
use crate::fleet_snapshot::FleetSnapshot;
use crate::gather::AppSnapshot;
use crate::identity::is_of_component;
use crate::rows::row_settled;

/// What of an application a cell holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holds {
    /// Every component.
    Everything,
    /// Components with an identity of their own, and those without pods: the Divided component has left.
    Identities,
    /// Components that exist once per cluster, because a component that exists once runs there.
    ClusterObjects,
}

/// The decision about one cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CellPlan {
    pub(crate) target: i32,
    pub(crate) revision: ContentHash,
    pub(crate) inputs: InputsPlan,
    pub(crate) holds: Holds,
}

impl CellPlan {
    /// The cell is told all that is wanted of it.
    pub(crate) fn is_current(&self, wanted: ContentHash) -> bool {
        self.revision == wanted && self.inputs.current == self.inputs.wanted
    }
}

/// Adds revisions to the decided numbers, and cells that stay because of what must not move.
pub(crate) fn plan_cells(
    snapshot: &FleetSnapshot,
    facts: &AppSnapshot,
    wanted: &StoredRevision,
    targets: &BTreeMap<CellName, i32>,
) -> BTreeMap<CellName, CellPlan> {
    let mut cells: BTreeMap<CellName, CellPlan> = BTreeMap::new();
    for (cell, target) in targets {
        cells.insert(cell.clone(), planned(snapshot, facts, wanted, cell, *target, Holds::Everything));
    }
    for (cell, holds) in anchors(snapshot, facts, wanted) {
        cells.entry(cell.clone()).or_insert_with(|| planned(snapshot, facts, wanted, &cell, 0, holds));
    }
    for cell in cells_without_restart(snapshot, facts, wanted, &cells) {
        cells.entry(cell).and_modify(|plan| plan.revision = facts.wanted);
    }
    if let Some(next) = next_cell(snapshot, facts, &cells) {
        cells.entry(next).and_modify(|plan| {
            plan.revision = facts.wanted;
            plan.inputs.current.clone_from(&plan.inputs.wanted);
        });
    }
    if wanted.blueprint.divided.is_none() {
        for (cell, plan) in &mut cells {
            let divides = |revision: &Arc<StoredRevision>| revision.blueprint.divided.is_some();
            // A cell that still runs a revision that divides keeps its number until it is told another revision.
            let keeps = facts.revisions.get(&plan.revision).is_some_and(divides);
            plan.target = facts.cells.get(cell).filter(|_| keeps).map_or(0, |held| held.target);
        }
    }
    cells
}

fn planned(
    snapshot: &FleetSnapshot,
    facts: &AppSnapshot,
    wanted: &StoredRevision,
    cell: &CellName,
    target: i32,
    holds: Holds,
) -> CellPlan {
    let revision = facts.cells.get(cell).map_or(facts.wanted, |held| held.revision);
    CellPlan { target, revision, inputs: InputsPlan::of(snapshot, facts, wanted, cell), holds }
}

/// Cells and clusters that keep a part of the application whatever becomes of its replicas: what has an identity of its
/// own, or runs once, stays until a person removes it.
fn anchors(snapshot: &FleetSnapshot, facts: &AppSnapshot, wanted: &StoredRevision) -> Vec<(CellName, Holds)> {
    let mut anchors = Vec::new();
    for row in facts.rows.iter().filter(|row| row.desired_state == DesiredState::Present) {
        if !keeps_identities(snapshot, row) {
            continue;
        }
        let Some(component) =
            wanted.blueprint.components.iter().find(|component| is_of_component(&snapshot.topology, row, component))
        else {
            continue;
        };
        let (cell, holds) = match component.scope {
            Scope::PerCell if has_identity(&row.object.kind) => (&row.cell, Holds::Identities),
            Scope::Once => (&row.cluster, Holds::ClusterObjects),
            _ => continue,
        };
        if let Some((name, _)) = snapshot.topology.cells.get_key_value(cell.as_str()) {
            anchors.push((name.clone(), holds));
        }
    }
    // Where both hold, the one that holds more counts.
    anchors.sort_by_key(|(_, holds)| *holds == Holds::ClusterObjects);
    anchors
}

/// Whether what must not move stays in the place of a row: not where a person removes the cluster, or deletes the Cell after
/// what is divided has left it.
pub(crate) fn keeps_identities(snapshot: &FleetSnapshot, row: &PlacementRow) -> bool {
    let leaving = snapshot.topology.cells.get(row.cell.as_str()).is_some_and(|cell| cell.state == CellState::Leaving);
    !leaving && !snapshot.is_abandoned(&row.cluster) && !snapshot.is_emptied(&row.cluster)
}

/// Whether objects of the kind are more than their template: replacing one elsewhere does not bring its state along.
pub(crate) fn has_identity(kind: &str) -> bool {
    kind == "StatefulSet"
}

/// Cells that answer and run what differs from the wanted revision in nothing that restarts pods: they need not wait for
/// each other.
fn cells_without_restart(
    snapshot: &FleetSnapshot,
    facts: &AppSnapshot,
    wanted: &StoredRevision,
    cells: &BTreeMap<CellName, CellPlan>,
) -> Vec<CellName> {
    let is_alike = |revision: &ContentHash| {
        let present = facts.revisions.get(revision);
        *revision != facts.wanted && present.is_some_and(|present| present.substance == wanted.substance)
    };
    // Revisions that are alike have the same override rules, so what is told of one is told of the other.
    let is_alike = |plan: &CellPlan| plan.inputs.current == plan.inputs.wanted && is_alike(&plan.revision);
    let alike = cells.iter().filter(|(_, plan)| is_alike(plan)).map(|(cell, _)| cell);
    alike.filter(|cell| settled(snapshot, facts, cell) != Verdict::Unknown).cloned().collect()
}

/// The cell that takes the wanted revision next.
fn next_cell(snapshot: &FleetSnapshot, facts: &AppSnapshot, cells: &BTreeMap<CellName, CellPlan>) -> Option<CellName> {
    let rollout: Vec<CellRollout> = cells
        .iter()
        .map(|(cell, plan)| CellRollout {
            cell: cell.clone(),
            is_current: plan.is_current(facts.wanted),
            settled: settled(snapshot, facts, cell),
        })
        .collect();
    match advance(&rollout) {
        Rollout::Advance(cell) => Some(cell),
        Rollout::Done | Rollout::WaitFor(_) => None,
    }
}

/// Whether everything told to a cell, and to its cluster, is delivered, worked out and available.
fn settled(snapshot: &FleetSnapshot, facts: &AppSnapshot, cell: &CellName) -> Verdict {
    let Some(cluster) = snapshot.topology.cells.get(cell).map(|facts| facts.cluster.as_str()) else {
        return Verdict::Unknown;
    };
    if !snapshot.is_fresh(cluster) {
        return Verdict::Unknown;
    }
    let of_cluster = facts.rows_in(cluster).filter(|row| row.cluster == cluster);
    let present =
        facts.rows_in(cell.as_str()).chain(of_cluster).filter(|row| row.desired_state == DesiredState::Present);
    let verdict =
        |row: &PlacementRow| facts.status.get(&row.id).map_or(Verdict::Unknown, |status| row_settled(row, status));
    Verdict::all(present.map(verdict))
}

/// Every cell was told what is wanted before, and everything told to it is available.
pub(crate) fn is_ready(snapshot: &FleetSnapshot, facts: &AppSnapshot, cells: &BTreeMap<CellName, CellPlan>) -> bool {
    // What a cell is told only now runs nowhere yet.
    let was_told = |cell: &CellName, plan: &CellPlan| {
        let held = facts.cells.get(cell);
        held.is_some_and(|held| held.revision == plan.revision && held.inputs.as_ref() == Some(&plan.inputs.current))
    };
    let is_ready = |(cell, plan): (&CellName, &CellPlan)| {
        plan.is_current(facts.wanted) && was_told(cell, plan) && settled(snapshot, facts, cell) == Verdict::Pass
    };
    !cells.is_empty() && cells.iter().all(is_ready)
}

/// Replicas decided for all cells, without those that go with a cluster that a person removes.
pub(crate) fn decided_total(snapshot: &FleetSnapshot, cells: &BTreeMap<CellName, CellPlan>) -> i64 {
    let stays = |cell: &CellName| {
        let cluster = snapshot.topology.cells.get(cell).map(|facts| facts.cluster.as_str());
        cluster.is_none_or(|cluster| !snapshot.is_emptied(cluster) && !snapshot.is_abandoned(cluster))
    };
    cells.iter().filter(|(cell, _)| stays(cell)).map(|(_, plan)| i64::from(plan.target)).sum()
}

/// The rows that are stored of the cells.
pub(crate) fn decision_rows(cells: &BTreeMap<CellName, CellPlan>) -> Vec<CellDecisionRow> {
    let row = |(cell, plan): (&CellName, &CellPlan)| CellDecisionRow {
        cell: cell.to_string(),
        slot: Slot::Main,
        target: plan.target,
        revision: plan.revision.as_bytes().to_vec(),
        inputs: Some(plan.inputs.current.clone()),
        inputs_wanted: Some(plan.inputs.wanted.clone()),
    };
    cells.iter().map(row).collect()
}

#[cfg(test)]
mod tests;
