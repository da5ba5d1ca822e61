//! Events: one for each transition of a condition that concerns users, and no others.

use crds::condition::{DELETION_BLOCKED, DRIFTED, FAILOVER_FROZEN, READY, REBALANCE_NEEDED, STALLED, Status};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Resource;
use kube::runtime::events::{Event, EventType, Recorder};
use vocabulary::shorten;

/// Conditions that report trouble when they become true.
const TROUBLES: [&str; 5] = [STALLED, DELETION_BLOCKED, FAILOVER_FROZEN, DRIFTED, REBALANCE_NEEDED];
/// Maximum number of bytes of a note; the API takes less than 1 KiB.
const NOTE_BYTES_MAX: usize = 1_000;

/// Returns the events for a change of conditions. Their reasons are those of the conditions.
///
/// `Ready` causes an event when it becomes true and when it stops being true. A `Ready` that is not true yet causes
/// none.
pub(super) fn transitions(before: &[Condition], after: &[Condition]) -> Vec<Event> {
    let status = |conditions: &[Condition], type_: &str| {
        conditions.iter().find(|condition| condition.type_ == type_).map(|condition| condition.status.clone())
    };
    let is = |status: &Option<String>, wanted: Status| status.as_deref() == Some(wanted.as_str());
    after
        .iter()
        .filter_map(|now| {
            let was = status(before, &now.type_);
            let holds = now.status == Status::True.as_str();
            let type_ = match now.type_.as_str() {
                READY if holds && !is(&was, Status::True) => EventType::Normal,
                READY if !holds && is(&was, Status::True) => EventType::Warning,
                trouble if TROUBLES.contains(&trouble) && holds && !is(&was, Status::True) => EventType::Warning,
                _ => return None,
            };
            let note = shorten(&now.message, NOTE_BYTES_MAX);
            Some(Event {
                type_,
                reason: now.reason.clone(),
                note: (!note.is_empty()).then_some(note),
                action: now.type_.clone(),
                secondary: None,
            })
        })
        .collect()
}

/// Writes the events of an object's transitions.
///
/// An event that cannot be written does not cause another write of status.
pub(super) async fn tell<K>(recorder: &Recorder, object: &K, before: &[Condition], after: &[Condition])
where
    K: Resource,
    K::DynamicType: Default,
{
    for event in transitions(before, after) {
        if let Err(error) = recorder.publish(&event, &object.object_ref(&K::DynamicType::default())).await {
            tracing::warn!(error = vocabulary::chain(&error), reason = event.reason, "an event was not written");
        }
    }
}

#[cfg(test)]
mod tests {
    use crds::condition::condition;
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    #[test]
    fn each_transition_is_told_once_and_nothing_else() {
        let one = |type_: &str, status: Status, reason: &str| {
            condition(type_, status, reason, "", None, Time(Timestamp::UNIX_EPOCH))
        };
        let ready = |status: Status, reason: &str| one(READY, status, reason);
        let stalled = |status: Status| one(STALLED, status, "NeedsAPerson");
        for (before, after, expected) in [
            (vec![], vec![ready(Status::Unknown, "Pending")], vec![]),
            (vec![ready(Status::Unknown, "Pending")], vec![ready(Status::False, "Progressing")], vec![]),
            (vec![ready(Status::False, "Progressing")], vec![ready(Status::True, "Available")], vec!["Available"]),
            (vec![ready(Status::True, "Available")], vec![ready(Status::True, "Available")], vec![]),
            (vec![ready(Status::True, "Available")], vec![ready(Status::Unknown, "Stale")], vec!["Stale"]),
            (vec![ready(Status::Unknown, "Stale")], vec![ready(Status::False, "Progressing")], vec![]),
            (vec![], vec![stalled(Status::True)], vec!["NeedsAPerson"]),
            (vec![stalled(Status::True)], vec![stalled(Status::False)], vec![]),
            (vec![stalled(Status::True)], vec![stalled(Status::True)], vec![]),
        ] {
            let reasons: Vec<String> = transitions(&before, &after).into_iter().map(|event| event.reason).collect();
            assert_eq!(reasons, expected, "{before:?} to {after:?}");
        }
    }
}
