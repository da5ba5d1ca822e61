//! Builds the conditions of an Application from rows. Pure.
//!
//! The conditions report whether the Application is as requested, and otherwise the required action and its actor.

use std::collections::BTreeMap;

use crds::application::v1alpha1::{ApplicationStatus, ObjectStatus};
use crds::condition::{self, Status, condition};
use domain::decision_record::DecisionRecord;
use domain::placement_gap::explain_gap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use vocabulary::{Trouble, group_causes};

use super::facts::Facts;
use super::survival;

/// Groups the messages of the objects in one state: each cause once, with its clusters.
pub(super) fn group_objects(objects: &[ObjectStatus], state: &str) -> String {
    let chosen: Vec<(&ObjectStatus, String)> = objects
        .iter()
        .filter(|object| object.state == state)
        .map(|object| (object, format!("{} {}", object.kind, object.name)))
        .collect();
    let troubles: Vec<Trouble<'_>> = chosen
        .iter()
        .map(|(object, name)| Trouble { cluster: &object.cluster, object: name, message: &object.message })
        .collect();
    group_causes(&troubles, condition::MESSAGE_MAX)
}

/// Returns whether replicas have no place.
///
/// Replicas that only wait in a cell where they may not stay have a place.
fn has_no_place(record: &DecisionRecord) -> bool {
    record.decision.shortfall > 0 || record.short && record.decision.cells.iter().all(|cell| cell.target == 0)
}

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
            (None, None, _) if has_no_place(record) => {
                let why = explain_gap(record).unwrap_or_default();
                make(condition::SCHEDULED, Status::False, "Shortfall", format!("{why}. {}", record.decision.summary))
            }
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
                "{moves} replicas would have to move; see `meridian rebalance {} -n {} --dry-run`",
                self.row.key.name, self.row.key.namespace
            );
            conditions.push(make(condition::REBALANCE_NEEDED, Status::True, "PlacementUneven", message));
        }
        let drifted = group_objects(&status.objects, "Drifted");
        if !drifted.is_empty() {
            conditions.push(make(condition::DRIFTED, Status::True, "ChangedInMember", drifted));
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
        let rolled_back = self.rolled_back();
        let working = trouble.is_none() && rolled_back.is_none() && (due || !self.is_complete(record));
        conditions.push(self.ready(status, record, trouble.as_deref(), &now));
        let (reconciling, reason) = if working { (Status::True, "Working") } else { (Status::False, "Idle") };
        conditions.push(make(condition::RECONCILING, reconciling, reason, String::new()));
        let refused = self.refusal.as_ref().map(|refusal| refusal.message.clone());
        let needs_person = trouble.or(refused).or(rolled_back);
        let stalled = needs_person.is_some();
        let message = needs_person.unwrap_or_default();
        let reason = if stalled { "NeedsAPerson" } else { "Idle" };
        conditions.push(make(condition::STALLED, Status::from(stalled), reason, message));
        conditions.sort_by(|a, b| a.type_.cmp(&b.type_));
        conditions
    }

    /// Returns the problem that only a user can solve.
    fn trouble(&self, status: &ApplicationStatus, record: &DecisionRecord) -> Option<String> {
        if record.pending.is_some() {
            return self.deletion_blocked(record).map(|(_, message)| message);
        }
        let refused = group_objects(&status.objects, "Refused");
        (!refused.is_empty()).then_some(refused)
    }

    /// Returns why deletes wait: for a user, or, past their deadline, for a cluster.
    pub(super) fn deletion_blocked(&self, record: &DecisionRecord) -> Option<(&'static str, String)> {
        if let Some(pending) = &record.pending {
            let key = &self.row.key;
            return Some((
                "MassDelete",
                format!(
                    "{} deletes wait: {}. If they are meant, run `meridian app confirm-delete {} -n {} --plan {} --yes`",
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
                let held = group_objects(&self.objects(record), "Deleting");
                let held = if held.is_empty() { String::new() } else { format!(": {held}") };
                let message = format!("{} objects are still there in {}{held}", count(&slow), names.join(", "));
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
}
