//! Computes the capacity that an application holds in clusters. Pure.

use std::collections::BTreeMap;

use crds::cluster::v1alpha1::Amounts;
use domain::placement;
use store::{DesiredState, PlacementId, PlacementRow, ReservationRow};
use vocabulary::{CellName, ContentHash, rendered_replicas};

use crate::app_plan::AppPlan;
use crate::fleet_snapshot::FleetSnapshot;
use crate::gather::AppSnapshot;
use crate::identity::is_of_component;

/// Returns the capacity that the application holds once the plan is written.
///
/// The application holds the replicas that its rows render and the decided replicas that have no row yet. It also holds
/// the replicas that still run of leaving objects.
pub(crate) fn reservations(snapshot: &FleetSnapshot, facts: &AppSnapshot, plan: &AppPlan) -> Vec<ReservationRow> {
    let changes: BTreeMap<PlacementId, &store::PlacementChange> =
        plan.changes.iter().map(|change| (change.id, change)).collect();
    let mut books = BTreeMap::new();
    let mut book = |row: &PlacementRow, revision: ContentHash, replicas: i32| {
        let pod = pod_of(snapshot, facts, row, revision);
        if let Ok(cell) = row.cell.parse::<CellName>() {
            placement::book(&mut books, &snapshot.topology, &cell, pod, replicas);
        }
    };
    for row in facts.rows.iter().filter(|row| !plan.forget.contains(&row.id)) {
        let (target, floor, surge, desired_state, revision) = match changes.get(&row.id) {
            Some(change) => (change.target, change.floor, change.surge, change.desired_state, change.revision),
            None => (row.target, row.floor, row.surge, row.desired_state, row.revision),
        };
        let running = facts.status.get(&row.id).map_or(0, |status| status.replicas);
        let leaving = if desired_state == DesiredState::Present { 0 } else { running };
        book(row, revision, rendered_replicas(target, floor, surge).max(leaving));
    }
    for insert in &plan.inserts {
        let pod = pod_of_component(facts, &insert.row.component, insert.row.revision);
        if let Ok(cell) = insert.row.cell.parse::<CellName>() {
            placement::book(&mut books, &snapshot.topology, &cell, pod, insert.row.target);
        }
    }
    rows(books)
}

fn pod_of(snapshot: &FleetSnapshot, facts: &AppSnapshot, row: &PlacementRow, revision: ContentHash) -> Amounts {
    let Some(revision) = facts.revisions.get(&revision) else { return Amounts::default() };
    let components = &revision.blueprint.components;
    let component = components.iter().find(|component| is_of_component(&snapshot.topology, row, component));
    component.map(|component| component.pod).unwrap_or_default()
}

fn pod_of_component(facts: &AppSnapshot, component: &str, revision: ContentHash) -> Amounts {
    let revision = facts.revisions.get(&revision);
    let known = revision.and_then(|revision| revision.blueprint.components.iter().find(|one| one.name == component));
    known.map(|component| component.pod).unwrap_or_default()
}

/// Returns the sums as rows, in order of cluster and zone, without empty sums.
fn rows(books: BTreeMap<(String, String), Amounts>) -> Vec<ReservationRow> {
    books
        .into_iter()
        .filter(|(_, sum)| *sum != Amounts::default())
        .map(|((cluster, zone), sum)| ReservationRow {
            cluster,
            zone,
            cpu_milli: sum.cpu_milli,
            memory_mi: sum.memory_mi,
            pods: sum.pods,
        })
        .collect()
}
