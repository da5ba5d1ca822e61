//! Status of a row from its observed object. Pure.

use jiff::Timestamp;
use store::{ObjectState, StatusRow};

use crate::observe::entry::{Entry, is_missing};
use crate::observe::observed_object::ObservedObject;

/// Status of an entry whose object cannot be observed: its numbers stay and do not affect scheduling.
pub(crate) fn unobserved(entry: &Entry, why: Option<&String>, now: Timestamp) -> StatusRow {
    let mut status =
        StatusRow { changed_at: now, stale: true, observed_epoch: 0, settled: false, ..entry.status.clone() };
    if let Some(why) = why.filter(|_| status.state == ObjectState::Applied) {
        status.message = Some(format!("{why}; the numbers are those last seen"));
    }
    status
}

pub(crate) fn observed(entry: &Entry, live: Option<&ObservedObject>, now: Timestamp) -> StatusRow {
    let before = &entry.status;
    if is_missing(entry, live) {
        return unobserved(entry, None, now);
    }
    let mut status = StatusRow { changed_at: now, stale: false, ..before.clone() };
    let Some(live) = live else {
        status.observed_epoch = 0;
        status.replicas = 0;
        status.ready = 0;
        status.available = 0;
        status.updated = 0;
        status.settled = false;
        status.zones = None;
        status.drift = Vec::new();
        return status;
    };
    let observed = &live.observed;
    status.object_uid = Some(live.uid.clone());
    if live.fence.is_none_or(|fence| fence.plan < entry.row.plan_epoch) {
        status.found_epoch = 0;
    }
    // The numbers belong to a plan only after the member's own controllers have processed it.
    if observed.observed_generation_current {
        status.observed_epoch = live.fence.map_or(0, |fence| fence.plan);
    }
    status.replicas = observed.replicas;
    status.ready = observed.ready;
    status.available = observed.available;
    status.updated = observed.updated;
    status.settled = observed.complete && observed.observed_generation_current && !live.deleting;
    if before.state == ObjectState::Applied {
        status.message.clone_from(&observed.message);
        status.drift = drift(entry, live);
        if let Some(message) = drift_message(&status.drift, entry.row.divided) {
            status.message = Some(message);
        }
    }
    let is_ours_to_tell = matches!(before.state, ObjectState::Applied | ObjectState::Deleting);
    if is_ours_to_tell && !live.held_by.is_empty() {
        status.message = Some(format!(
            "it is being deleted and held by finalizer {}; whoever set that must release it",
            live.held_by.join(", ")
        ));
    }
    status
}

/// Describes drifted fields and the remedy.
///
/// If another manager scales the object, the message does not advise `Enforce`. An autoscaler would set the number
/// again, and each new revision would revert it.
pub(crate) fn drift_message(drift: &[String], is_divided: bool) -> Option<String> {
    let [first, rest @ ..] = drift else { return None };
    if !is_divided && rest.is_empty() && first == ".spec.replicas" {
        return Some(
            ".spec.replicas is set by another manager now, and the next revision puts the template's number back; if it is an autoscaler's, remove spec.replicas from the template, and what runs keeps its number"
                .to_owned(),
        );
    }
    let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
    Some(format!("{first}{more} changed behind our back; set spec.drift: Enforce to put it back"))
}

pub(crate) fn drift(entry: &Entry, live: &ObservedObject) -> Vec<String> {
    let before = entry.status.fields_hash;
    // Only fields written by the current plan can have drifted.
    if before.is_none() || before == live.fields || entry.status.applied_epoch != entry.row.plan_epoch {
        return Vec::new();
    }
    if live.lost.is_empty() {
        vec!["fields that were ours belong to another manager now".to_owned()]
    } else {
        live.lost.clone()
    }
}
