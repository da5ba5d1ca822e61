//! Status of an Application from rows. Pure.

use std::collections::{BTreeMap, HashMap};

use crds::application::v1alpha1::{ApplicationStatus, CellReplicas, Decision, ObjectStatus, RevisionRecord};
use crds::condition;
use domain::decision_record::DecisionRecord;
use domain::intent::Intent;
use domain::topology::Topology;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use store::{ApplicationRow, ObjectState, PlacementId, PlacementRow, RevisionRow, StatusRow, Wish};
use vocabulary::{ContentHash, Verdict};

use crate::intake::Refusal;

/// Objects shown at most.
const OBJECTS: usize = 50;
/// Revisions shown at most.
const HISTORY: usize = 20;

/// Everything an Application's status is made of.
pub(super) struct Facts<'a> {
    pub(super) row: &'a ApplicationRow,
    pub(super) intent: &'a Intent,
    pub(super) rows: &'a [PlacementRow],
    pub(super) status: &'a HashMap<PlacementId, StatusRow>,
    pub(super) revisions: &'a [RevisionRow],
    pub(super) topology: &'a Topology,
    /// Last sign of life per cluster.
    pub(super) seen: &'a BTreeMap<String, Timestamp>,
    pub(super) refusal: Option<Refusal>,
    pub(super) before: &'a [Condition],
    pub(super) generation: i64,
    pub(super) now: Timestamp,
    pub(super) stale_after: SignedDuration,
}

pub(super) fn short(revision: &[u8]) -> String {
    ContentHash::from_bytes(revision).map(|hash| hash.short()).unwrap_or_default()
}

impl Facts<'_> {
    pub(super) fn record(&self) -> DecisionRecord {
        self.row.decision.clone().and_then(|value| serde_json::from_value(value).ok()).unwrap_or_default()
    }

    /// What is known of a cluster is too old to count, or the cluster is not well.
    pub(super) fn is_stale(&self, cluster: &str) -> bool {
        let well = self.topology.clusters.get(cluster).is_some_and(|facts| facts.health == Verdict::Pass);
        !well || self.seen.get(cluster).is_none_or(|seen| self.now.duration_since(*seen) > self.stale_after)
    }

    /// Since when nothing is known of a cluster, for people.
    pub(super) fn silence(&self, cluster: &str) -> String {
        let seen = self.seen.get(cluster).and_then(|seen| Timestamp::from_second(seen.as_second()).ok());
        seen.map_or_else(|| format!("{cluster} (never seen)"), |seen| format!("{cluster} (last seen {seen})"))
    }

    /// Everything divided has left the cluster by decision, and the cluster does not answer: what may still run there
    /// is surplus, and goes when it answers again.
    pub(super) fn is_surplus(&self, cluster: &str) -> bool {
        let mut divided = self.rows.iter().filter(|row| row.divided && row.cluster == cluster).peekable();
        divided.peek().is_some() && self.is_stale(cluster) && divided.all(|row| row.target == 0)
    }

    /// The whole status.
    pub(super) fn status(&self) -> ApplicationStatus {
        let record = self.record();
        let cells = self.cells();
        let fresh = || cells.iter().filter(|cell| !cell.stale);
        let objects = self.objects(&record);
        let mut decision = record.decision.clone();
        decision.at = self.row.decided_at.map(Time);
        let mut status = ApplicationStatus {
            observed_generation: Some(self.generation),
            revision: Some(short(&self.row.revision)),
            desired: self.intent.wanted(),
            placed: cells.iter().map(|cell| cell.placed).sum(),
            ready: fresh().map(|cell| cell.ready).sum(),
            available: fresh().map(|cell| cell.available).sum(),
            updated: fresh().filter(|cell| cell.revision == short(&self.row.revision)).map(|cell| cell.updated).sum(),
            stale_ready: cells.iter().filter(|cell| cell.stale).map(|cell| cell.ready).sum(),
            zones: zones(&cells),
            cells,
            objects,
            decision: self.row.decided_at.map(|_| decision),
            history: self.history(),
            pending_deletes: record.pending.clone(),
            conditions: Vec::new(),
        };
        if self.is_complete(&status, &record) {
            // Stored a moment later: two writes would say one thing.
            let wanted = short(&self.row.revision);
            status.history.iter_mut().filter(|known| known.revision == wanted).for_each(|known| known.was_ready = true);
        }
        status.conditions = condition::merge(self.before, self.conditions(&status, &record));
        status
    }

    fn cells(&self) -> Vec<CellReplicas> {
        let mut cells: BTreeMap<&str, CellReplicas> = BTreeMap::new();
        for row in self.rows.iter().filter(|row| row.divided) {
            let unknown = StatusRow::unknown(row.id, self.now);
            let status = self.status.get(&row.id).unwrap_or(&unknown);
            if row.wish != Wish::Present && status.state.is_over() {
                continue;
            }
            let facts = self.topology.cells.get(row.cell.as_str());
            let cell = cells.entry(&row.cell).or_insert_with(|| CellReplicas {
                cell: row.cell.clone(),
                cluster: row.cluster.clone(),
                region: facts.map(|facts| facts.region.clone()).unwrap_or_default(),
                zone: facts.map(domain::topology::CellFacts::zone_text).unwrap_or_default(),
                revision: short(&row.revision),
                as_of: self.seen.get(&row.cluster).copied().map(Time),
                stale: self.is_stale(&row.cluster),
                ..CellReplicas::default()
            });
            // What runs there is not known when only its kind cannot be followed, too.
            cell.stale |= status.stale && status.applied_epoch > 0;
            cell.desired += row.target;
            cell.placed += row.rendered();
            cell.ready += status.ready;
            cell.available += status.available;
            // Numbers of a cell that lies in one zone now are of the past.
            for (zone, count) in status.zones.iter().flatten().filter(|_| cell.zone.contains('+')) {
                *cell.ready_by_zone.entry(zone.clone()).or_default() += count;
            }
            let current = status.applied_revision.as_deref() == Some(row.revision.as_slice());
            cell.updated += if current { status.updated } else { 0 };
            if cell.message.is_none() {
                cell.message.clone_from(&status.message);
            }
            if cell.stale && cell.message.is_none() {
                let silent = self.silence(&row.cluster);
                cell.message = Some(if row.target == 0 && row.divided {
                    format!(
                        "surplus: cluster {silent} is silent and may still run it; it goes when the cluster answers"
                    )
                } else {
                    format!("cluster {silent} is silent; numbers are those last seen")
                });
            }
        }
        cells.into_values().collect()
    }

    /// Objects that are not as they should be, the worst first.
    fn objects(&self, record: &DecisionRecord) -> Vec<ObjectStatus> {
        let mut objects = record.problems.clone();
        for row in self.rows {
            let status = self.status.get(&row.id);
            let (state, message) = match status {
                None => ("Pending", "not delivered yet".to_owned()),
                Some(status) => {
                    let message = status.message.clone().unwrap_or_default();
                    match status.state {
                        ObjectState::Applied if !status.drift.is_empty() => ("Drifted", message),
                        ObjectState::Applied if status.applied_epoch < row.plan_epoch => ("Pending", message),
                        ObjectState::Applied | ObjectState::Gone => continue,
                        ObjectState::Failed if status.applied_epoch == 0 && message.is_empty() => ("Pending", message),
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
                revision: short(&revision.revision),
                at: Some(Time(revision.taken_at)),
                was_ready: revision.was_ready,
            })
            .collect()
    }
}

fn zones(cells: &[CellReplicas]) -> Option<String> {
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

/// Whether a new status only says how far things are: no condition turned, nothing was decided, nothing fell silent.
pub(super) fn is_progress(shown: &ApplicationStatus, wanted: &ApplicationStatus) -> bool {
    let words = |status: &ApplicationStatus| {
        let turns = |one: &Condition| (one.type_.clone(), one.status.clone(), one.reason.clone());
        let cells = |cell: &CellReplicas| (cell.cell.clone(), cell.desired, cell.stale);
        // The API keeps whole seconds of its time.
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

/// Whether two statuses say the same: times of fresh facts move on without being news.
pub(super) fn says_the_same(shown: &ApplicationStatus, wanted: &ApplicationStatus) -> bool {
    let still = |status: &ApplicationStatus| {
        let mut status = status.clone();
        for cell in status.cells.iter_mut().filter(|cell| !cell.stale) {
            cell.as_of = None;
        }
        for condition in &mut status.conditions {
            condition.last_transition_time = Time(Timestamp::UNIX_EPOCH);
        }
        // The API keeps whole seconds.
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
