//! Plans which cells hold an application, with how many replicas of which revision. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use crds::application::v1alpha1::Scope;
use domain::motion::{CellRollout, Rollout, advance};
use domain::stored_revision::StoredRevision;
use domain::topology::CellState;
use store::{CellDecisionRow, DesiredState, PlacementRow, Slot};
use vocabulary::{CellName, ContentHash, PlaceInputs, Verdict};

use crate::cell_inputs::InputsPlan;
use crate::fleet_snapshot::FleetSnapshot;
use crate::gather::AppSnapshot;
use crate::identity::is_of_component;
use crate::placement_rows::settled_verdict;
use crate::releases::{Releases, can_be_gray};

/// Components of an application that a cell holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holds {
    /// All components.
    Everything,
    /// Components with an identity of their own, and those without pods: the Divided component has left.
    Identities,
    /// Components that exist once per cluster, because a component with scope `Once` runs there.
    ClusterObjects,
}

/// Planned decision about one cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CellPlan {
    /// Replicas of both slots.
    pub(crate) target: i32,
    /// Revision of the main slot.
    pub(crate) revision: ContentHash,
    /// Revision that the main slot gets when it is the cell's turn.
    pub(crate) next: ContentHash,
    pub(crate) inputs: InputsPlan,
    pub(crate) holds: Holds,
    /// The gray slot, while a release is open.
    pub(crate) gray: Option<GrayPlan>,
}

/// Planned gray slot of a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GrayPlan {
    pub(crate) revision: ContentHash,
    /// Replicas of the cell that run in the gray slot; at least 1 and at most the cell's target.
    pub(crate) target: i32,
    pub(crate) inputs: PlaceInputs,
}

impl CellPlan {
    /// Returns the replicas of the main slot.
    pub(crate) fn main_target(&self) -> i32 {
        self.target - self.gray.as_ref().map_or(0, |gray| gray.target)
    }

    /// Returns whether the plan gives the cell the wanted revision and the wanted inputs.
    pub(crate) fn is_current(&self, wanted: ContentHash) -> bool {
        self.revision == wanted && self.inputs.current == self.inputs.wanted
    }
}

/// Adds revisions to the decided targets, and adds cells that keep objects that must not move.
pub(crate) fn plan_cells(
    snapshot: &FleetSnapshot,
    facts: &AppSnapshot,
    wanted: &StoredRevision,
    targets: &BTreeMap<CellName, i32>,
) -> BTreeMap<CellName, CellPlan> {
    let releases = Releases::of(snapshot, facts);
    let mut cells: BTreeMap<CellName, CellPlan> = BTreeMap::new();
    for (cell, target) in targets {
        cells.insert(cell.clone(), planned(snapshot, facts, &releases, cell, *target, Holds::Everything));
    }
    for (cell, holds) in anchors(snapshot, facts, wanted) {
        cells.entry(cell.clone()).or_insert_with(|| planned(snapshot, facts, &releases, &cell, 0, holds));
    }
    if releases.is_automatic() || !cells.keys().any(|cell| releases.is_ordered(cell)) {
        for cell in cells_without_restart(snapshot, facts, wanted, &cells) {
            cells.entry(cell).and_modify(|plan| (plan.revision, plan.next) = (facts.wanted, facts.wanted));
        }
    }
    let take_turn = |plan: &mut CellPlan| {
        plan.revision = plan.next;
        plan.inputs.current.clone_from(&plan.inputs.wanted);
    };
    cells.iter_mut().filter(|(cell, _)| releases.is_ordered(cell)).for_each(|(_, plan)| take_turn(plan));
    if let Some(next) = next_cell(snapshot, facts, &cells) {
        cells.entry(next).and_modify(take_turn);
    }
    for (cell, plan) in &mut cells {
        plan.gray = gray_plan(snapshot, facts, &releases, cell, plan);
    }
    if wanted.blueprint.divided.is_none() {
        for (cell, plan) in &mut cells {
            let divides = |revision: &Arc<StoredRevision>| revision.blueprint.divided.is_some();
            // A cell that still runs a revision that divides keeps its target until it gets another revision.
            let keeps = facts.revisions.get(&plan.revision).is_some_and(divides);
            plan.target = facts.cells.get(cell).filter(|_| keeps).map_or(0, |held| held.target);
        }
    }
    cells
}

fn planned(
    snapshot: &FleetSnapshot,
    facts: &AppSnapshot,
    releases: &Releases,
    cell: &CellName,
    target: i32,
    holds: Holds,
) -> CellPlan {
    let held = facts.cells.get(cell).map(|held| held.revision);
    let next = releases.main_of(cell, held);
    let inputs = facts.revisions.get(&next).map(|next| InputsPlan::of(snapshot, facts, next, cell)).unwrap_or_default();
    CellPlan { target, revision: held.unwrap_or(next), next, inputs, holds, gray: None }
}

/// Plans the gray slot of a cell.
///
/// A cell has one where both revisions divide their replicas over Deployments. Elsewhere a release gives whole cells the
/// revision.
fn gray_plan(
    snapshot: &FleetSnapshot,
    facts: &AppSnapshot,
    releases: &Releases,
    cell: &CellName,
    plan: &CellPlan,
) -> Option<GrayPlan> {
    let (revision, target) = releases.gray_of(cell, plan.target).filter(|_| plan.holds == Holds::Everything)?;
    let new = facts.revisions.get(&revision)?;
    if !can_be_gray(new) || !facts.revisions.get(&plan.revision).is_some_and(|main| can_be_gray(main)) {
        return None;
    }
    let inputs = InputsPlan::of(snapshot, facts, new, cell).wanted;
    Some(GrayPlan { revision, target, inputs })
}

/// Returns the cells and clusters that keep a part of the application, whatever its replicas do.
///
/// An object with an identity of its own, or that runs once, stays until a person removes it.
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
    // A cell may have both reasons. `Identities` comes first and wins, because it keeps more components.
    anchors.sort_by_key(|(_, holds)| *holds == Holds::ClusterObjects);
    anchors
}

/// Returns whether objects that must not move stay in the row's place.
///
/// They leave where a person removes the cluster. They also leave where a person deletes the Cell, after its divided
/// replicas have left.
pub(crate) fn keeps_identities(snapshot: &FleetSnapshot, row: &PlacementRow) -> bool {
    let leaving = snapshot.topology.cells.get(row.cell.as_str()).is_some_and(|cell| cell.state == CellState::Leaving);
    !leaving && !snapshot.is_abandoned(&row.cluster) && !snapshot.is_emptied(&row.cluster)
}

/// Returns whether objects of the kind have state besides their template.
///
/// A replacement in another place does not bring that state along.
pub(crate) fn has_identity(kind: &str) -> bool {
    kind == "StatefulSet"
}

/// Returns the cells that take the wanted revision at once, because it restarts no pods there.
///
/// These cells answer, so they need not wait for each other.
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
    // Revisions with equal substance have the same override rules, so inputs of one revision hold for the other.
    let is_alike = |plan: &CellPlan| plan.inputs.current == plan.inputs.wanted && is_alike(&plan.revision);
    let alike = cells.iter().filter(|(_, plan)| is_alike(plan)).map(|(cell, _)| cell);
    alike.filter(|cell| settled(snapshot, facts, cell) != Verdict::Unknown).cloned().collect()
}

/// Returns the cell that takes the wanted revision or inputs next.
fn next_cell(snapshot: &FleetSnapshot, facts: &AppSnapshot, cells: &BTreeMap<CellName, CellPlan>) -> Option<CellName> {
    let rollout: Vec<CellRollout> = cells
        .iter()
        .map(|(cell, plan)| CellRollout {
            cell: cell.clone(),
            is_current: plan.is_current(plan.next),
            settled: settled(snapshot, facts, cell),
        })
        .collect();
    match advance(&rollout) {
        Rollout::Advance(cell) => Some(cell),
        Rollout::Done | Rollout::WaitFor(_) => None,
    }
}

/// Returns whether all rows of a cell, and of its cluster, are delivered, settled and available.
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
        |row: &PlacementRow| facts.status.get(&row.id).map_or(Verdict::Unknown, |status| settled_verdict(row, status));
    Verdict::all(present.map(verdict))
}

/// Returns whether all cells already had the wanted revision and inputs, and all rows are settled.
pub(crate) fn is_ready(snapshot: &FleetSnapshot, facts: &AppSnapshot, cells: &BTreeMap<CellName, CellPlan>) -> bool {
    // A revision that this plan assigns to a cell does not run yet.
    let was_told = |cell: &CellName, plan: &CellPlan| {
        let held = facts.cells.get(cell);
        held.is_some_and(|held| held.revision == plan.revision && held.inputs.as_ref() == Some(&plan.inputs.current))
    };
    let is_ready = |(cell, plan): (&CellName, &CellPlan)| {
        plan.is_current(facts.wanted)
            && plan.gray.is_none()
            && was_told(cell, plan)
            && settled(snapshot, facts, cell) == Verdict::Pass
    };
    !cells.is_empty() && cells.iter().all(is_ready)
}

/// Returns the replicas decided for all cells, without clusters that a person removes.
pub(crate) fn decided_total(snapshot: &FleetSnapshot, cells: &BTreeMap<CellName, CellPlan>) -> i64 {
    let stays = |cell: &CellName| {
        let cluster = snapshot.topology.cells.get(cell).map(|facts| facts.cluster.as_str());
        cluster.is_none_or(|cluster| !snapshot.is_emptied(cluster) && !snapshot.is_abandoned(cluster))
    };
    cells.iter().filter(|(cell, _)| stays(cell)).map(|(_, plan)| i64::from(plan.target)).sum()
}

/// Returns the decisions about cells and slots as they are stored, in order of cell and slot.
pub(crate) fn decision_rows(cells: &BTreeMap<CellName, CellPlan>) -> Vec<CellDecisionRow> {
    let main = |(cell, plan): (&CellName, &CellPlan)| CellDecisionRow {
        cell: cell.to_string(),
        slot: Slot::Main,
        target: plan.main_target(),
        revision: plan.revision,
        inputs: Some(plan.inputs.current.clone()),
        inputs_wanted: Some(plan.inputs.wanted.clone()),
    };
    let gray = |(cell, plan): (&CellName, &CellPlan)| {
        let gray = plan.gray.as_ref()?;
        Some(CellDecisionRow {
            cell: cell.to_string(),
            slot: Slot::Gray,
            target: gray.target,
            revision: gray.revision,
            inputs: Some(gray.inputs.clone()),
            inputs_wanted: Some(gray.inputs.clone()),
        })
    };
    cells.iter().flat_map(|cell| std::iter::once(main(cell)).chain(gray(cell))).collect()
}

#[cfg(test)]
mod tests;
