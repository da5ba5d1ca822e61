//! The condition `Ready` of an Application. Pure.
//!
//! The condition reports whether the Application is as requested, and if not, the first reason.

use std::collections::BTreeSet;

use crds::application::v1alpha1::{ApplicationStatus, CellReplicas};
use crds::condition::{self, Status, condition};
use domain::decision_record::DecisionRecord;
use domain::placement_gap::explain_gap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use store::{DesiredState, ObjectState};
use vocabulary::{Trouble, group_causes};

use super::conditions::group_objects;
use super::facts::Facts;

/// Maximum number of bytes of the causes behind the numbers, because one message holds both.
const CAUSES_BYTES_MAX: usize = condition::MESSAGE_MAX - 256;

impl Facts<'_> {
    /// Returns whether all decided objects exist and are delivered, settled and available, by fresh facts.
    ///
    /// Pods that may still run in a silent cluster, which everything has left, are not waited for.
    pub(super) fn is_complete(&self, record: &DecisionRecord) -> bool {
        let owners = &record.replica_owners;
        let divided = self.rows.iter().filter(|row| row.divided && !self.is_surplus_row(row, owners));
        let placed: i32 = divided.map(|row| row.target).sum();
        if self.row.input_hash.is_none() || !record.problems.is_empty() || placed < record.wanted {
            return false;
        }
        self.rows.iter().filter(|row| !self.is_surplus_row(row, owners)).all(|row| {
            row.desired_state == DesiredState::Present
                && self.status.get(&row.id).is_some_and(|status| {
                    status.state == ObjectState::Applied
                        && status.applied_epoch == row.plan_epoch
                        && status.observed_epoch == row.plan_epoch
                        && status.settled
                        && (!row.divided || status.available >= row.rendered())
                        && row.revision == self.row.revision
                        && row.floor <= row.target
                })
                && !self.is_stale(&row.cluster)
        })
    }

    /// Returns whether the Application is as requested, with the first reason if not.
    pub(super) fn ready(
        &self,
        status: &ApplicationStatus,
        record: &DecisionRecord,
        trouble: Option<&str>,
        now: &Time,
    ) -> Condition {
        let make = |value, reason: &str, message: String| {
            condition(condition::READY, value, reason, message, Some(self.generation), now.clone())
        };
        let stale_cells = status.cells.iter().filter(|cell| cell.stale).map(|cell| cell.cluster.as_str());
        let staying =
            self.rows.iter().filter(|row| row.desired_state == DesiredState::Present).map(|row| row.cluster.as_str());
        let stale: BTreeSet<&str> = stale_cells.chain(staying.filter(|cluster| self.is_stale(cluster))).collect();
        let numbers = self.numbers(status, record);
        if let Some(refusal) = &self.refusal {
            return make(Status::False, refusal.reason, refusal.message.clone());
        }
        if self.row.removal.is_some() {
            let left = || {
                let held = group_objects(&status.objects, "Deleting");
                let held = if held.is_empty() { String::new() } else { format!(": {held}") };
                format!("{} objects are left{held}", self.rows.len())
            };
            let message = self.deletion_blocked(record).map_or_else(left, |(_, message)| message);
            return make(Status::False, "Removing", message);
        }
        if let Some(trouble) = trouble {
            let reason = if record.pending.is_some() { "DeletesWait" } else { "Refused" };
            return make(Status::False, reason, trouble.to_owned());
        }
        if let Some(why) = explain_gap(record) {
            return make(Status::False, "NotPlaced", why);
        }
        if let Some(message) = self.rolled_back() {
            return make(Status::False, "RevisionRolledBack", format!("{numbers}; {message}"));
        }
        if self.is_complete(record) {
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
        if let Some(message) = self.releasing() {
            return make(Status::False, "Releasing", format!("{numbers}; {message}"));
        }
        let failed = group_objects(&status.objects, "Failed");
        if !failed.is_empty() {
            return make(Status::False, "DeliveryFailed", failed);
        }
        let culprits = self.unsettled_causes();
        make(Status::False, "Progressing", if culprits.is_empty() { numbers } else { format!("{numbers}; {culprits}") })
    }

    /// Returns the causes that hold up unsettled objects, each cause once.
    fn unsettled_causes(&self) -> String {
        let unsettled =
            self.rows.iter().filter(|row| row.desired_state == DesiredState::Present && !self.status_of(row).settled);
        let causes: Vec<(String, String, &str)> = unsettled
            .filter_map(|row| {
                let object = format!("{} {}", row.object.kind, row.object.name);
                Some((self.culprit(row)?, object, row.cluster.as_str()))
            })
            .collect();
        let troubles: Vec<Trouble<'_>> =
            causes.iter().map(|(message, object, cluster)| Trouble { cluster, object, message }).collect();
        group_causes(&troubles, CAUSES_BYTES_MAX)
    }

    /// Describes how many replicas are available, and which replicas will not stay.
    fn numbers(&self, status: &ApplicationStatus, record: &DecisionRecord) -> String {
        let owners = &record.replica_owners;
        let (surplus, staying): (Vec<&CellReplicas>, Vec<&CellReplicas>) =
            status.cells.iter().partition(|cell| self.is_surplus(&cell.cluster, owners));
        let others = status.desired - status.divided.map_or(0, |divided| divided.desired);
        let placed: i32 = staying.iter().map(|cell| cell.placed).sum();
        let needed = placed.max(record.wanted.saturating_add(others));
        let mut numbers = if status.cells.is_empty() && needed == 0 {
            let there = self.rows.iter().filter(|row| self.status_of(row).settled).count();
            format!("{there} of {} objects are in place; none has replicas", self.rows.len())
        } else {
            format!("{} of {needed} replicas available", status.available)
        };
        let running: Vec<&&CellReplicas> = surplus.iter().filter(|cell| cell.placed > 0).collect();
        if !running.is_empty() {
            let places: Vec<String> = running.iter().map(|cell| self.silence(&cell.cluster)).collect();
            let more: i32 = running.iter().map(|cell| cell.placed).sum();
            numbers.push_str(&format!("; {more} more may still run in silent {}", places.join(", ")));
        }
        let held: i32 = staying.iter().map(|cell| (cell.placed - cell.desired).max(0)).sum();
        if held > 0 {
            let until = "until enough others are available";
            match &record.floor_hold {
                Some(directive) => numbers.push_str(&format!("; {held} stay {until} and while {directive}")),
                None => numbers.push_str(&format!("; {held} stay {until}")),
            }
        }
        numbers
    }
}

#[cfg(test)]
mod tests;
