//! Status of an Application from rows. Pure.

use std::collections::{BTreeMap, HashMap};

use crds::application::v1alpha1::{ApplicationStatus, CellReplicas, ObjectStatus, RevisionRecord};
use crds::condition::{self, Status, condition};
use domain::decision_record::DecisionRecord;
use domain::intent::Intent;
use domain::topology::Topology;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use store::{ApplicationRow, ObjectState, PlacementId, PlacementRow, RevisionRow, StatusRow, Wish};
use vocabulary::ContentHash;

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
    fn record(&self) -> DecisionRecord {
        self.row.decision.clone().and_then(|value| serde_json::from_value(value).ok()).unwrap_or_default()
    }

    fn is_stale(&self, cluster: &str) -> bool {
        self.seen.get(cluster).is_none_or(|seen| self.now.duration_since(*seen) > self.stale_after)
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
            pending_deletes: None,
            conditions: Vec::new(),
        };
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
            cell.desired += row.target;
            cell.placed += row.rendered();
            cell.ready += status.ready;
            cell.available += status.available;
            let current = status.applied_revision.as_deref() == Some(row.revision.as_slice());
            cell.updated += if current { status.updated } else { 0 };
            if cell.message.is_none() {
                cell.message.clone_from(&status.message);
            }
            if cell.stale && cell.message.is_none() {
                cell.message = Some(format!("cluster {} is silent; numbers are those last seen", row.cluster));
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

    fn conditions(&self, status: &ApplicationStatus, record: &DecisionRecord) -> Vec<Condition> {
        let now = Time(self.now);
        let make = |type_: &str, value: Status, reason: &str, message: String| {
            condition(type_, value, reason, message, Some(self.generation), now.clone())
        };
        let mut conditions = Vec::new();
        let scheduled = self.row.input_hash.is_some();
        conditions.push(match (&self.refusal, &record.hold, scheduled) {
            (Some(refusal), ..) => make(condition::SCHEDULED, Status::False, refusal.reason, refusal.message.clone()),
            (None, _, false) => {
                make(condition::SCHEDULED, Status::Unknown, "Pending", "no decision was made yet".to_owned())
            }
            (None, Some(why), _) => make(condition::SCHEDULED, Status::False, "Held", why.clone()),
            (None, None, _) if record.decision.shortfall > 0 => make(
                condition::SCHEDULED,
                Status::False,
                "Shortfall",
                format!(
                    "{} of {} replicas found no place: {}",
                    record.decision.shortfall, record.wanted, record.decision.summary
                ),
            ),
            _ => make(condition::SCHEDULED, Status::True, "Decided", record.decision.summary.clone()),
        });
        match &record.spread {
            None => {}
            Some(Ok(())) => {
                conditions.push(make(condition::SPREAD_SATISFIED, Status::True, "Satisfied", String::new()));
            }
            Some(Err(why)) => {
                conditions.push(make(condition::SPREAD_SATISFIED, Status::False, "Violated", why.clone()));
            }
        }
        let moves = record.decision.rebalance;
        if moves > 0 {
            let message = format!(
                "{moves} replicas would have to move; see `meridian rebalance {} --dry-run`",
                self.row.key.name
            );
            conditions.push(make(condition::REBALANCE_NEEDED, Status::True, "PlacementUneven", message));
        }
        let drifted: Vec<String> = status
            .objects
            .iter()
            .filter(|object| object.state == "Drifted")
            .map(|object| format!("{} {} in {}: {}", object.kind, object.name, object.cluster, object.message))
            .collect();
        if !drifted.is_empty() {
            conditions.push(make(condition::DRIFTED, Status::True, "ChangedInMember", drifted.join("; ")));
        }
        let trouble = Self::trouble(status);
        let due = self.row.decided_generation < self.row.generation;
        let working = trouble.is_none() && (due || !self.is_complete(status));
        conditions.push(self.ready(status, record, trouble.as_deref(), &now));
        let (reconciling, reason) = if working { (Status::True, "Working") } else { (Status::False, "Idle") };
        conditions.push(make(condition::RECONCILING, reconciling, reason, String::new()));
        let stalled = trouble.is_some() || self.refusal.is_some();
        let message =
            trouble.or_else(|| self.refusal.as_ref().map(|refusal| refusal.message.clone())).unwrap_or_default();
        let reason = if stalled { "NeedsAPerson" } else { "Idle" };
        conditions.push(make(condition::STALLED, Status::from(stalled), reason, message));
        conditions.sort_by(|a, b| a.type_.cmp(&b.type_));
        conditions
    }

    /// What only a person can mend.
    fn trouble(status: &ApplicationStatus) -> Option<String> {
        let refused: Vec<String> = status
            .objects
            .iter()
            .filter(|object| object.state == "Refused")
            .map(|object| format!("{} {} in {}: {}", object.kind, object.name, object.cluster, object.message))
            .collect();
        (!refused.is_empty()).then(|| refused.join("; "))
    }

    /// Everything is delivered, worked out and available, by fresh facts.
    fn is_complete(&self, status: &ApplicationStatus) -> bool {
        let settled = self.rows.iter().filter(|row| row.wish == Wish::Present).all(|row| {
            self.status.get(&row.id).is_some_and(|status| {
                status.state == ObjectState::Applied
                    && status.applied_epoch == row.plan_epoch
                    && status.observed_epoch == row.plan_epoch
                    && status.settled
                    && row.revision == self.row.revision
                    && row.floor <= row.target
            }) && !self.is_stale(&row.cluster)
        });
        let leaving = self.rows.iter().any(|row| row.wish != Wish::Present);
        settled && !leaving && status.available >= status.placed
    }

    fn ready(
        &self,
        status: &ApplicationStatus,
        record: &DecisionRecord,
        trouble: Option<&str>,
        now: &Time,
    ) -> Condition {
        let make = |value, reason: &str, message: String| {
            condition(condition::READY, value, reason, message, Some(self.generation), now.clone())
        };
        let stale: Vec<&str> =
            status.cells.iter().filter(|cell| cell.stale).map(|cell| cell.cluster.as_str()).collect();
        let numbers = format!("{} of {} replicas available", status.available, status.placed);
        if let Some(refusal) = &self.refusal {
            return make(Status::False, refusal.reason, refusal.message.clone());
        }
        if self.row.removal.is_some() {
            return make(Status::False, "Removing", format!("{} objects are left", self.rows.len()));
        }
        if let Some(trouble) = trouble {
            return make(Status::False, "Refused", trouble.to_owned());
        }
        if record.short {
            let why =
                record.hold.clone().unwrap_or_else(|| format!("{} replicas found no place", record.decision.shortfall));
            return make(Status::False, "NotPlaced", why);
        }
        if self.is_complete(status) {
            return make(Status::True, "Available", numbers);
        }
        if !stale.is_empty() {
            // Unknown is neither ready nor broken.
            return make(Status::Unknown, "Stale", format!("{numbers}; silent: {}", stale.join(", ")));
        }
        if let Some(object) = status.objects.iter().find(|object| object.state == "Failed") {
            return make(
                Status::False,
                "DeliveryFailed",
                format!("{} {} in {}: {}", object.kind, object.name, object.cluster, object.message),
            );
        }
        let message = status.cells.iter().find_map(|cell| Some(format!("{}: {}", cell.cell, cell.message.as_ref()?)));
        make(Status::False, "Progressing", message.map_or(numbers.clone(), |message| format!("{numbers}; {message}")))
    }
}

fn zones(cells: &[CellReplicas]) -> Option<String> {
    let mut zones: BTreeMap<&str, i32> = BTreeMap::new();
    for cell in cells.iter().filter(|cell| cell.placed > 0) {
        *zones.entry(&cell.zone).or_default() += cell.placed;
    }
    let text: Vec<String> = zones.into_iter().map(|(zone, replicas)| format!("{zone}={replicas}")).collect();
    (!text.is_empty()).then(|| text.join(","))
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
