//! Counts ready pods by zone for objects whose cell spans zones.

use std::collections::BTreeMap;

use domain::topology::Topology;
use jiff::Timestamp;
use store::{AppId, ObjectState, PlacementId, StatusRow};

use crate::observe::capacity::{CapacityTracker, Workload};
use crate::observe::cluster_state::ClusterState;
use crate::session::Session;

impl Session {
    /// Counts ready pods by zone and queues the changed status.
    ///
    /// Does nothing until nodes and pods were listed.
    pub(crate) fn observe_zones(&self, capacity_tracker: &CapacityTracker) {
        if !capacity_tracker.is_listed() {
            return;
        }
        let fleet = self.fleet();
        let mut cluster_state = self.cluster_state();
        for (app, before, now) in count_zones(&mut cluster_state, &fleet.topology, capacity_tracker, Timestamp::now()) {
            // Sent while `cluster_state` is locked, so that an older status cannot overtake this one.
            self.send(app, &before, now);
        }
    }
}

/// Updates the counts by zone of applied objects of the Divided component.
///
/// Returns each change with the status before and after.
fn count_zones(
    cluster_state: &mut ClusterState,
    topology: &Topology,
    capacity_tracker: &CapacityTracker,
    now: Timestamp,
) -> Vec<(AppId, StatusRow, StatusRow)> {
    let mut workloads: BTreeMap<Workload, Vec<String>> = BTreeMap::new();
    let mut counted: BTreeMap<PlacementId, Workload> = BTreeMap::new();
    for entry in
        cluster_state.entries.values().filter(|entry| entry.row.divided && entry.status.state == ObjectState::Applied)
    {
        let Some(cell) = topology.cells.get(entry.row.cell.as_str()).filter(|cell| cell.zones.len() > 1) else {
            continue;
        };
        let object = &entry.row.object;
        let workload = (object.namespace.clone(), object.kind.clone(), object.name.clone());
        workloads.insert(workload.clone(), cell.zones.clone());
        counted.insert(entry.row.id, workload);
    }
    let known: Vec<PlacementId> =
        cluster_state.entries.values().filter(|entry| entry.status.zones.is_some()).map(|entry| entry.row.id).collect();
    if counted.is_empty() && known.is_empty() {
        return Vec::new();
    }
    let counts = capacity_tracker.ready_by_zone(&workloads);
    let mut changes = Vec::new();
    for id in known.into_iter().chain(counted.keys().copied().collect::<Vec<_>>()) {
        let Some(entry) = cluster_state.entries.get_mut(&id) else { continue };
        let zones = counted.get(&id).and_then(|workload| counts.get(workload)).cloned();
        if entry.status.zones == zones {
            continue;
        }
        let status = StatusRow { zones, changed_at: now, ..entry.status.clone() };
        let before = std::mem::replace(&mut entry.status, status.clone());
        changes.push((entry.row.app, before, status));
    }
    changes
}
