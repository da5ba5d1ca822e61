//! Conditions of an Application from rows: is it as asked, and if not, who must do what. Pure.

use std::collections::BTreeMap;

use crds::application::v1alpha1::{ApplicationStatus, CellReplicas};
use crds::condition::{self, Status, condition};
use domain::decision_record::DecisionRecord;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use store::{ObjectState, Wish};

use super::status::Facts;
use super::survival;

impl Facts<'_> {
    pub(super) fn conditions(&self, status: &ApplicationStatus, record: &DecisionRecord) -> Vec<Condition> {
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
        if let Some((survives, message)) = survival::judge(&self.intent.placement, status.desired, &status.cells) {
            let reason = if survives { "EnoughLeft" } else { "TooFewLeft" };
            conditions.push(make(condition::LOSS_SURVIVABLE, Status::from(survives), reason, message));
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
        conditions.extend(
            self.deletion_blocked(record)
                .map(|(reason, message)| make(condition::DELETION_BLOCKED, Status::True, reason, message)),
        );
        if let Some(why) = &record.frozen {
            let message =
                format!("nothing is moved by itself: {why}; look at the network between Meridian and them first");
            conditions.push(make(condition::FAILOVER_FROZEN, Status::True, "FleetUnsettled", message));
        }
        let trouble = self.trouble(status, record);
        let due = self.row.decided_generation < self.row.generation;
        let working = trouble.is_none() && (due || !self.is_complete(status, record));
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
    fn trouble(&self, status: &ApplicationStatus, record: &DecisionRecord) -> Option<String> {
        if record.pending.is_some() {
            return self.deletion_blocked(record).map(|(_, message)| message);
        }
        let refused: Vec<String> = status
            .objects
            .iter()
            .filter(|object| object.state == "Refused")
            .map(|object| format!("{} {} in {}: {}", object.kind, object.name, object.cluster, object.message))
            .collect();
        (!refused.is_empty()).then(|| refused.join("; "))
    }

    /// Why deletes wait: for a person, or, past their deadline, for a cluster.
    fn deletion_blocked(&self, record: &DecisionRecord) -> Option<(&'static str, String)> {
        if let Some(pending) = &record.pending {
            let key = &self.row.key;
            return Some((
                "MassDelete",
                format!(
                    "{} deletes wait: {}. If they are meant, run `meridian app confirm-delete {} -n {} --plan {}`",
                    pending.count, pending.reason, key.name, key.namespace, pending.plan
                ),
            ));
        }
        let since = self.row.removal_since.filter(|_| self.row.removal.is_some())?;
        if self.now.duration_since(since).as_secs() < self.intent.deletion_deadline {
            return None;
        }
        let mut left: BTreeMap<&str, usize> = BTreeMap::new();
        for row in self.rows {
            if !self.status.get(&row.id).is_some_and(|status| status.state.is_over()) {
                *left.entry(&row.cluster).or_default() += 1;
            }
        }
        let (silent, slow): (Vec<_>, Vec<_>) = left.into_iter().partition(|(cluster, _)| self.is_stale(cluster));
        let count = |of: &[(&str, usize)]| of.iter().map(|(_, count)| count).sum::<usize>();
        if silent.is_empty() {
            let names: Vec<&str> = slow.iter().map(|(cluster, _)| *cluster).collect();
            return (!slow.is_empty()).then(|| {
                let message = format!(
                    "{} objects are still there in {}; see status.objects for what each waits for",
                    count(&slow),
                    names.join(", ")
                );
                ("ObjectsLeft", message)
            });
        }
        let names: Vec<String> = silent.iter().map(|(cluster, _)| self.silence(cluster)).collect();
        let first = silent[0].0;
        Some((
            "ClusterSilent",
            format!(
                "{} objects cannot be deleted while {} does not answer; the deletion goes on when it does. If it is gone for good, run `meridian cluster remove {first} --gone`",
                count(&silent),
                names.join(", "),
            ),
        ))
    }

    /// Everything that was decided has an object, and is delivered, worked out and available, by fresh facts. What may
    /// still run in a silent cluster that everything has left is not waited for.
    pub(super) fn is_complete(&self, status: &ApplicationStatus, record: &DecisionRecord) -> bool {
        let placed: i32 =
            status.cells.iter().filter(|cell| !self.is_surplus(&cell.cluster)).map(|cell| cell.desired).sum();
        if self.row.input_hash.is_none() || !record.problems.is_empty() || placed < record.wanted {
            return false;
        }
        let settled = self.rows.iter().filter(|row| !self.is_surplus(&row.cluster)).all(|row| {
            row.wish == Wish::Present
                && self.status.get(&row.id).is_some_and(|status| {
                    status.state == ObjectState::Applied
                        && status.applied_epoch == row.plan_epoch
                        && status.observed_epoch == row.plan_epoch
                        && status.settled
                        && row.revision == self.row.revision
                        && row.floor <= row.target
                })
                && !self.is_stale(&row.cluster)
        });
        let needed: i32 =
            status.cells.iter().filter(|cell| !self.is_surplus(&cell.cluster)).map(|cell| cell.placed).sum();
        settled && status.available >= needed
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
        let surplus: Vec<&CellReplicas> =
            status.cells.iter().filter(|cell| cell.placed > 0 && self.is_surplus(&cell.cluster)).collect();
        let placed = status.placed - surplus.iter().map(|cell| cell.placed).sum::<i32>();
        let needed = placed.max(record.wanted);
        let mut numbers = format!("{} of {needed} replicas available", status.available);
        if !surplus.is_empty() {
            let places: Vec<String> = surplus.iter().map(|cell| self.silence(&cell.cluster)).collect();
            numbers.push_str(&format!(
                "; {} more may still run in silent {}",
                status.placed - placed,
                places.join(", ")
            ));
        }
        let staying = status.cells.iter().filter(|cell| !self.is_surplus(&cell.cluster));
        let held: i32 = staying.map(|cell| (cell.placed - cell.desired).max(0)).sum();
        if held > 0 {
            numbers.push_str(&format!("; {held} stay until enough others are available"));
        }
        if let Some(refusal) = &self.refusal {
            return make(Status::False, refusal.reason, refusal.message.clone());
        }
        if self.row.removal.is_some() {
            let message = self
                .deletion_blocked(record)
                .map_or_else(|| format!("{} objects are left", self.rows.len()), |(_, message)| message);
            return make(Status::False, "Removing", message);
        }
        if let Some(trouble) = trouble {
            let reason = if record.pending.is_some() { "DeletesWait" } else { "Refused" };
            return make(Status::False, reason, trouble.to_owned());
        }
        if record.short {
            let why =
                record.hold.clone().unwrap_or_else(|| format!("{} replicas found no place", record.decision.shortfall));
            return make(Status::False, "NotPlaced", why);
        }
        if self.is_complete(status, record) {
            return make(Status::True, "Available", numbers);
        }
        if !stale.is_empty() {
            // Unknown is neither ready nor broken.
            return make(
                Status::Unknown,
                "Stale",
                format!(
                    "{numbers}; silent: {}",
                    stale.iter().map(|cluster| self.silence(cluster)).collect::<Vec<_>>().join(", ")
                ),
            );
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
