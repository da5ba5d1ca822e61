//! Plans each application of a batch: replicas, revisions, objects and floors. Pure.

use std::collections::BTreeMap;

use domain::failover::FailoverDecision;
use domain::render::{self, Blueprint, ReplicaOwner};
use store::{DesiredState, PlacementChange, Removal};

use crate::app_plan::AppPlan;
use crate::cells::{decided_total, decision_rows, is_ready, plan_cells};
use crate::fleet_snapshot::FleetSnapshot;
use crate::gather::{AppSnapshot, Gathered};
use crate::numbers::numbers;
use crate::objects::ObjectInputs;
use crate::replacements::replacements;
use crate::reservations::reservations;
use crate::rows::{DividedTotals, reconcile};
use crate::snapshot_cache::CachedSnapshot;

/// Plans the applications of a batch in order.
///
/// Each plan counts the reservations of the plans before it. Returns the plans, and the snapshot with the reservations
/// that hold once the plans are written.
pub(crate) fn plan_batch(gathered: Gathered) -> (Vec<AppPlan>, CachedSnapshot) {
    let Gathered { snapshot: mut read, apps } = gathered;
    let snapshot = &mut read.fleet;
    let plans = apps
        .iter()
        .map(|facts| {
            let mut plan = match facts.row.removal {
                Some(removal) => plan_removal(snapshot, facts, removal),
                None => plan_active(snapshot, facts),
            };
            // An application that is being removed keeps its reservations until no row of it is left.
            let held = match facts.row.removal {
                Some(_) if plan.over => Vec::new(),
                Some(_) => facts.held.clone(),
                None => reservations(snapshot, facts, &plan),
            };
            if held != facts.held {
                snapshot.rebook(&facts.held, &held);
                plan.reservations = Some(held);
            }
            if plan.over || !plan.is_empty() {
                plan.ready = None;
            }
            plan
        })
        .collect();
    (plans, read)
}

/// Plans the removal of an application: all its objects go, and delivery orders the deletes.
fn plan_removal(snapshot: &FleetSnapshot, facts: &AppSnapshot, removal: Removal) -> AppPlan {
    let mut plan = AppPlan::empty(facts);
    let desired_state = match removal {
        Removal::Delete => DesiredState::Delete,
        Removal::Orphan => DesiredState::Orphan,
    };
    for row in &facts.rows {
        let over = facts.status.get(&row.id).is_some_and(|status| status.state.is_over());
        if over && row.desired_state != DesiredState::Present || snapshot.is_gone(&row.cluster) {
            plan.forget.push(row.id);
        } else if row.desired_state != desired_state {
            plan.deletes.consider(snapshot, &facts.cells, row, desired_state);
            plan.changes.push(PlacementChange {
                target: 0,
                floor: 0,
                surge: 0,
                desired_state,
                ..PlacementChange::of(row)
            });
        }
    }
    if !facts.cells.is_empty() {
        plan.cells = Some(Vec::new());
    }
    plan.over = plan.forget.len() == facts.rows.len();
    plan
}

/// Plans an application that is to run.
fn plan_active(snapshot: &FleetSnapshot, facts: &AppSnapshot) -> AppPlan {
    let mut plan = AppPlan::empty(facts);
    let Some(wanted) = facts.revisions.get(&facts.wanted) else { return plan };
    if facts.cells.values().any(|held| !facts.revisions.contains_key(&held.revision)) {
        // A revision that a cell runs was garbage-collected during the read. The next read returns its replacement.
        return plan;
    }
    let released = snapshot.releases_of(facts.row.id);
    if let Some(release) = released.values().find(|release| !facts.revisions.contains_key(&release.revision)) {
        // Without the revision, the gray slots would be given up.
        tracing::error!(app = %facts.row.key, revision = %release.revision, "a directive names a revision that is not stored; the Application stays as it is");
        return plan;
    }
    plan.deletes.preview(plan.last_decision.1.previewed.iter().cloned());
    plan.generation = (facts.row.decided_generation != facts.row.generation).then_some(facts.row.generation);
    // Only replicas of a Divided component can run elsewhere.
    let failover = match wanted.blueprint.divided {
        Some(_) => snapshot.failover(facts.intent.failover_after),
        None => FailoverDecision::default(),
    };
    let targets = numbers(snapshot, facts, wanted, &failover, &mut plan);
    record_revision(facts, &wanted.blueprint, &mut plan);
    let cells = plan_cells(snapshot, facts, wanted, &targets);
    let rows = decision_rows(&cells);
    if rows != facts.cell_rows {
        plan.cells = Some(rows);
    }
    let inputs = ObjectInputs {
        topology: &snapshot.topology,
        cells: &cells,
        wanted: facts.wanted,
        revisions: &facts.revisions,
        existing: &facts.rows,
        suspended: facts.intent.suspended,
    };
    let mut objects = inputs.objects();
    // A cluster that is being removed gets no object. Objects that find no other place are orphaned or deleted there,
    // as the removal of the cluster asks.
    objects.retain(|object| {
        let cluster = object.cluster.as_str();
        !snapshot.is_abandoned(cluster) && !snapshot.is_emptied(cluster)
    });
    let (_, record) = plan.record.as_ref().unwrap_or(&plan.last_decision);
    let total = if wanted.blueprint.divided.is_some() { record.wanted } else { 0 };
    let decided = DividedTotals { cells: &cells, replicas: decided_total(snapshot, &cells), wanted: total };
    reconcile(snapshot, facts, &objects, &failover, &decided, &mut plan);
    if is_ready(snapshot, facts, &cells) {
        plan.ready = Some(facts.row.revision);
    }
    plan
}

/// Records the edit from one revision to the next, and the components with replicas.
///
/// The guard needs the edit and the status stage needs the components. Rows alone show neither.
fn record_revision(facts: &AppSnapshot, blueprint: &Blueprint, plan: &mut AppPlan) {
    let owned = blueprint.components.iter().filter_map(|one| Some((one.name.clone(), render::replica_owner(one)?)));
    let owners: BTreeMap<String, ReplicaOwner> = owned.collect();
    let (_, record) = plan.record.as_ref().unwrap_or(&plan.last_decision);
    let edit = record.edit.to(facts.wanted);
    let replacements = replacements(facts);
    if record.replica_owners != owners || record.edit != edit || record.replacements != replacements {
        let (_, record) = plan.record.get_or_insert_with(|| plan.last_decision.clone());
        record.replica_owners = owners;
        record.edit = edit;
        record.replacements = replacements;
    }
}
