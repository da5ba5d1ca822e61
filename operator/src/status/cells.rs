//! Replicas of an Application per cell and in total, from rows. Pure.

use std::collections::BTreeMap;

use crds::application::v1alpha1::{CellReplicas, DividedReplicas};
use domain::decision_record::DecisionRecord;
use domain::render::ReplicaOwner;
use domain::topology::CellFacts;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use store::{DesiredState, PlacementRow, Slot, StatusRow};

use super::counted::{Counted, count_replicas, count_without_row};
use super::facts::Facts;

impl Facts<'_> {
    /// Returns all cells with a component that has replicas.
    pub(super) fn cells(&self, owners: &BTreeMap<String, ReplicaOwner>) -> Vec<CellReplicas> {
        let mut cells: BTreeMap<&str, CellReplicas> = BTreeMap::new();
        for row in self.rows {
            let status = self.status_of(row);
            let Some(mut counted) = count_replicas(row, &status, owners) else { continue };
            let is_of_cell = self.cell_revisions.get(&row.cell).is_none_or(|decided| *decided == row.revision);
            if !is_of_cell && row.slot == Slot::Main && row.revision != self.row.revision {
                // The object is of an earlier revision. The deletion follows when its successors run, or when a user
                // confirms. An object that the cluster has once may be ahead of the cell of the same name.
                counted.desired = 0;
            }
            if row.desired_state != DesiredState::Present && status.state.is_over() {
                continue;
            }
            let cell = cells.entry(&row.cell).or_insert_with(|| self.empty_cell(row));
            if row.desired_state == DesiredState::Present {
                cell.revision = self.cell_revisions.get(&row.cell).unwrap_or(&row.revision).short();
            }
            self.add_row(cell, row, &status, counted);
        }
        cells.into_values().collect()
    }

    fn empty_cell(&self, row: &PlacementRow) -> CellReplicas {
        let facts = self.topology.cells.get(row.cell.as_str());
        CellReplicas {
            cell: row.cell.clone(),
            cluster: row.cluster.clone(),
            region: facts.map(|facts| facts.region.clone()).unwrap_or_default(),
            zone: facts.map(CellFacts::zone_text).unwrap_or_default(),
            revision: row.revision.short(),
            as_of: self.seen.get(&row.cluster).copied().map(Time),
            stale: self.is_stale(&row.cluster),
            ..CellReplicas::default()
        }
    }

    fn add_row(&self, cell: &mut CellReplicas, row: &PlacementRow, status: &StatusRow, counted: Counted) {
        // The running replicas are also unknown when only their kind cannot be followed.
        cell.stale |= status.stale && status.applied_epoch > 0;
        cell.desired += counted.desired;
        cell.placed += counted.placed;
        if row.divided {
            let divided = cell.divided.get_or_insert_default();
            divided.desired += counted.desired;
            divided.placed += counted.placed;
        }
        cell.ready += status.ready;
        cell.available += status.available;
        // Numbers by zone are outdated for a cell that lies in one zone now.
        for (zone, count) in status.zones.iter().flatten().filter(|_| row.divided && cell.zone.contains('+')) {
            *cell.ready_by_zone.entry(zone.clone()).or_default() += count;
        }
        let main = self.cell_revisions.get(&row.cell).unwrap_or(&row.revision);
        let decided = if row.slot == Slot::Gray { &row.revision } else { main };
        let current = row.revision == *decided && status.applied_revision.as_ref() == Some(decided);
        cell.updated += if current { status.updated } else { 0 };
        if cell.message.is_none() {
            cell.message = self.culprit(row);
        }
        if cell.stale && cell.message.is_none() {
            let silent = self.silence(&row.cluster);
            cell.message = Some(if row.target == 0 && row.divided {
                format!("surplus: cluster {silent} is silent and may still run it; it goes when the cluster answers")
            } else {
                format!("cluster {silent} is silent; numbers are those last seen")
            });
        }
    }

    /// Returns the replicas of the wanted revision, by fresh facts.
    pub(super) fn updated(&self, owners: &BTreeMap<String, ReplicaOwner>) -> i32 {
        let runs_wanted = |row: &&PlacementRow| {
            let status = self.status_of(row);
            let is_counted = count_replicas(row, &status, owners).is_some();
            is_counted
                && status.applied_revision == Some(self.row.revision)
                && !self.is_stale(&row.cluster)
                && !status.stale
        };
        self.rows.iter().filter(runs_wanted).map(|row| self.status_of(row).updated).sum()
    }

    /// Returns the numbers of the Divided component.
    ///
    /// Desired is `spec.replicas`, even if more replicas run for a loss or a move.
    pub(super) fn divided(&self, record: &DecisionRecord, cells: &[CellReplicas]) -> Option<DividedReplicas> {
        let declared = record.replica_owners.values().any(|owner| *owner == ReplicaOwner::Placement);
        let placed = cells.iter().filter_map(|cell| cell.divided).map(|divided| divided.placed).sum();
        (declared || placed > 0).then(|| DividedReplicas { desired: self.intent.wanted(), placed })
    }

    /// Returns the number of requested replicas.
    ///
    /// The sum covers the Divided component, all other components with an object, and those without one.
    pub(super) fn desired(&self, record: &DecisionRecord, cells: &[CellReplicas]) -> i32 {
        let divided = self.divided(record, cells).map_or(0, |divided| divided.desired);
        let missing =
            if self.intent.suspended { 0 } else { count_without_row(&record.problems, &record.replica_owners) };
        let others = cells.iter().map(|cell| cell.desired - cell.divided.map_or(0, |divided| divided.desired));
        others.fold(divided.saturating_add(missing), i32::saturating_add)
    }
}

/// Returns the replicas per zone in one line.
pub(super) fn zones_text(cells: &[CellReplicas]) -> Option<String> {
    let mut zones: BTreeMap<&str, i32> = BTreeMap::new();
    for cell in cells.iter().filter(|cell| cell.placed > 0) {
        if cell.ready_by_zone.is_empty() {
            *zones.entry(&cell.zone).or_default() += cell.placed;
        }
        for (zone, ready) in &cell.ready_by_zone {
            *zones.entry(zone).or_default() += ready;
        }
    }
    let text: Vec<String> = zones.into_iter().map(|(zone, replicas)| format!("{zone}={replicas}")).collect();
    (!text.is_empty()).then(|| text.join(","))
}
