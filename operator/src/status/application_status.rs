//! Builds the status of an Application from rows. Pure.

use std::collections::BTreeMap;

use crds::application::v1alpha1::{ApplicationStatus, CellReplicas, Decision, ObjectStatus, RevisionRecord};
use crds::condition;
use domain::decision_record::DecisionRecord;
use domain::render::ReplicaOwner;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use store::{DesiredState, ObjectState, PlacementRow, StatusRow};
use vocabulary::Verdict;

use super::cells::zones_text;
use super::counted::count_replicas;
use super::culprit::culprit;
use super::facts::Facts;

/// Maximum number of objects in the status.
const OBJECTS: usize = 50;
/// Maximum number of revisions in the status.
const HISTORY: usize = 20;

impl Facts<'_> {
    pub(super) fn record(&self) -> DecisionRecord {
        self.row.decision.clone().and_then(|value| serde_json::from_value(value).ok()).unwrap_or_default()
    }

    /// Returns whether the facts of a cluster are too old to count, or the cluster is not healthy.
    pub(super) fn is_stale(&self, cluster: &str) -> bool {
        let well = self.topology.clusters.get(cluster).is_some_and(|facts| facts.health == Verdict::Pass);
        !well || self.seen.get(cluster).is_none_or(|seen| self.now.duration_since(*seen) > self.stale_after)
    }

    /// Describes for users since when a cluster is silent.
    pub(super) fn silence(&self, cluster: &str) -> String {
        let seen = self.seen.get(cluster).and_then(|seen| Timestamp::from_second(seen.as_second()).ok());
        seen.map_or_else(|| format!("{cluster} (never seen)"), |seen| format!("{cluster} (last seen {seen})"))
    }

    /// Returns whether pods that may still run in a silent cluster are surplus.
    ///
    /// That holds when the divided component has left the cluster by decision and nothing else has replicas there. The
    /// cluster does not answer, and the surplus is deleted when it answers again.
    pub(super) fn is_surplus(&self, cluster: &str, owners: &BTreeMap<String, ReplicaOwner>) -> bool {
        let here = || self.rows.iter().filter(|row| row.cluster == cluster);
        let runs = |row: &PlacementRow| {
            let counted = count_replicas(row, &self.status_of(row), owners);
            row.desired_state == DesiredState::Present && counted.is_some_and(|counted| counted.desired > 0)
        };
        self.is_stale(cluster) && here().any(|row| row.divided) && !here().any(runs)
    }

    /// Returns whether a row belongs to the surplus of its cluster.
    ///
    /// Such a row is divided, or its object leaves the cluster. Objects that stay in the cluster by decision are
    /// unknown there. That includes objects without counted replicas, such as a `DaemonSet`.
    pub(super) fn is_surplus_row(&self, row: &PlacementRow, owners: &BTreeMap<String, ReplicaOwner>) -> bool {
        (row.divided || row.desired_state != DesiredState::Present) && self.is_surplus(&row.cluster, owners)
    }

    /// Returns the cause that holds up the object of a row.
    pub(super) fn culprit(&self, row: &PlacementRow) -> Option<String> {
        culprit(row, self.rows, self.status)
    }

    /// Returns the status of a row, or an unknown status.
    pub(super) fn status_of(&self, row: &PlacementRow) -> StatusRow {
        self.status.get(&row.id).cloned().unwrap_or_else(|| StatusRow::unknown(row.id, self.now))
    }

    /// Returns the whole status.
    pub(super) fn status(&self) -> ApplicationStatus {
        let record = self.record();
        let cells = self.cells(&record.replica_owners);
        let fresh = || cells.iter().filter(|cell| !cell.stale);
        let objects = self.objects(&record);
        let mut decision = record.decision.clone();
        decision.at = self.row.decided_at.map(Time);
        let mut status = ApplicationStatus {
            observed_generation: Some(self.generation),
            revision: Some(self.row.revision.short()),
            desired: self.desired(&record, &cells),
            divided: self.divided(&record, &cells),
            placed: cells.iter().map(|cell| cell.placed).sum(),
            ready: fresh().map(|cell| cell.ready).sum(),
            available: fresh().map(|cell| cell.available).sum(),
            updated: self.updated(&record.replica_owners),
            stale_ready: cells.iter().filter(|cell| cell.stale).map(|cell| cell.ready).sum(),
            zones: zones_text(&cells),
            cells,
            objects,
            decision: self.row.decided_at.map(|_| decision),
            history: self.history(),
            release: self.release_status(),
            pending_deletes: record.pending.clone(),
            intent_taken: self.refusal.as_ref().and_then(|refusal| refusal.taken.clone()),
            conditions: Vec::new(),
        };
        if self.is_complete(&record) {
            // The database stores this a moment later. Setting it here saves a second write of the same status.
            let wanted = self.row.revision.short();
            status.history.iter_mut().filter(|known| known.revision == wanted).for_each(|known| known.was_ready = true);
        }
        status.conditions = condition::merge(self.before, self.conditions(&status, &record));
        status
    }

    /// Returns the objects that are not in their desired state, the worst first.
    pub(super) fn objects(&self, record: &DecisionRecord) -> Vec<ObjectStatus> {
        let mut objects = record.problems.clone();
        for row in self.rows {
            let status = self.status.get(&row.id);
            let (state, message) = match status {
                None => ("Pending", self.culprit(row).unwrap_or_else(|| "not delivered yet".to_owned())),
                Some(status) => {
                    let message = self.culprit(row).unwrap_or_default();
                    match status.state {
                        ObjectState::Applied if !status.drift.is_empty() => ("Drifted", message),
                        ObjectState::Applied if status.applied_epoch < row.plan_epoch => ("Pending", message),
                        ObjectState::Applied | ObjectState::Gone => continue,
                        ObjectState::Failed if status.applied_epoch == 0 && status.message.is_none() => {
                            ("Pending", message)
                        }
                        state => (state.as_str(), message),
                    }
                }
            };
            objects.push(ObjectStatus {
                cluster: row.cluster.clone(),
                component: row.component.clone(),
                kind: row.object.kind.clone(),
                name: row.object.name.clone(),
                state: state.to_owned(),
                message,
            });
        }
        let rank = |state: &str| match state {
            "Refused" => 0,
            "Failed" => 1,
            "Drifted" => 2,
            "Released" => 3,
            _ => 4,
        };
        objects.sort_by(|a, b| {
            (rank(&a.state), &a.cluster, &a.component, &a.name).cmp(&(
                rank(&b.state),
                &b.cluster,
                &b.component,
                &b.name,
            ))
        });
        objects.truncate(OBJECTS);
        objects
    }

    fn history(&self) -> Vec<RevisionRecord> {
        self.revisions
            .iter()
            .take(HISTORY)
            .map(|revision| RevisionRecord {
                revision: revision.revision.short(),
                at: Some(Time(revision.taken_at)),
                was_ready: revision.was_ready,
            })
            .collect()
    }
}

/// Returns whether a new status differs only in progress.
///
/// That holds when no condition changed, no new decision was made, and no cell became stale.
pub(super) fn is_progress(shown: &ApplicationStatus, wanted: &ApplicationStatus) -> bool {
    let words = |status: &ApplicationStatus| {
        let turns = |one: &Condition| (one.type_.clone(), one.status.clone(), one.reason.clone());
        let cells = |cell: &CellReplicas| (cell.cell.clone(), cell.desired, cell.stale);
        // The API stores the decision time in whole seconds, so the time is not compared.
        let decision = status.decision.clone().map(|decision| Decision { at: None, ..decision });
        (
            (
                status.observed_generation,
                status.revision.clone(),
                status.desired,
                status.pending_deletes.clone(),
                decision,
            ),
            status.conditions.iter().map(turns).collect::<Vec<_>>(),
            status.cells.iter().map(cells).collect::<Vec<_>>(),
        )
    };
    words(shown) == words(wanted)
}

/// Returns whether two statuses are equal. Times of fresh facts advance without being a change.
pub(super) fn says_the_same(shown: &ApplicationStatus, wanted: &ApplicationStatus) -> bool {
    let still = |status: &ApplicationStatus| {
        let mut status = status.clone();
        for cell in status.cells.iter_mut().filter(|cell| !cell.stale) {
            cell.as_of = None;
        }
        for condition in &mut status.conditions {
            condition.last_transition_time = Time(Timestamp::UNIX_EPOCH);
        }
        // The API stores whole seconds.
        if let Some(decision) = &mut status.decision {
            decision.at = None;
        }
        for revision in &mut status.history {
            revision.at = None;
        }
        for cell in &mut status.cells {
            cell.as_of =
                cell.as_of.as_ref().map(|time| Time(Timestamp::from_second(time.0.as_second()).unwrap_or(time.0)));
        }
        status
    };
    still(shown) == still(wanted)
}
