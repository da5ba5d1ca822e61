//! Converts the state of an operation into the end of a command. Pure.

use rest::{JournalEvent, Operation};

use crate::failure::Failure;

/// Returns kind, subject and id of an operation, for messages.
pub(crate) fn title(operation: &Operation) -> String {
    format!("operation {} ({} of {})", operation.id, operation.kind, operation.subject)
}

/// Returns whether an operation waits until a person acts.
///
/// A preempted operation and one that waits for locks go on by themselves.
pub(crate) fn is_waiting_for_person(operation: &Operation) -> bool {
    match operation.state.as_str() {
        "Pending" | "AwaitingApproval" => true,
        "Paused" => {
            !operation.pause.as_ref().is_some_and(|pause| matches!(pause.reason.as_str(), "Preempted" | "Locks"))
        }
        _ => false,
    }
}

/// Describes what an operation waits for, and which command ends that.
pub(crate) fn wait_reason(operation: &Operation) -> String {
    let id = operation.id;
    match (operation.state.as_str(), &operation.pause) {
        ("Pending", _) => format!("it waits for `meridian op start {id}`"),
        ("AwaitingApproval", _) => format!("it waits for `meridian op approve {id}` of another person"),
        (_, Some(pause)) => {
            let step = pause.step.as_ref().map(|step| format!(" at step {step}")).unwrap_or_default();
            format!("{}{step}, by {} since {}: {}", pause.reason, pause.by, pause.since, pause.message)
        }
        (_, None) => "no reason is recorded".to_owned(),
    }
}

/// The person who ended an operation before its goal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ender {
    verb: String,
    actor: String,
    at: String,
    reason: Option<String>,
}

/// Returns the ender if an entry of the journal records one.
pub(super) fn ender_of(entry: &JournalEvent) -> Option<Ender> {
    let verb = entry.body.get("verb")?.as_str()?;
    let ends = entry.entry == "Control" && matches!(verb, "cancel" | "reject" | "revert");
    ends.then(|| Ender {
        verb: verb.to_owned(),
        actor: entry.actor.clone(),
        at: entry.at.to_string(),
        reason: entry.body.get("reason").and_then(|reason| reason.as_str()).map(str::to_owned),
    })
}

/// Returns whether the journal says who ended the operation.
pub(super) fn needs_ender(operation: &Operation) -> bool {
    matches!(operation.state.as_str(), "Cancelled" | "Reverted" | "Superseded")
}

/// Returns the end of a command that waited for an operation which is over.
pub(super) fn verdict(operation: &Operation, ender: Option<&Ender>) -> Result<(), Failure> {
    if operation.succeeded {
        return Ok(());
    }
    let title = title(operation);
    let why = operation.failure.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    let by = ender.map(|ender| {
        let reason = ender.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        format!(" by {} at {} ({}{reason})", ender.actor, ender.at, ender.verb)
    });
    match (operation.state.as_str(), by) {
        ("Cancelled" | "Superseded", by) => Err(Failure::Superseded(format!(
            "{title} was {}{}{why}",
            operation.state.to_lowercase(),
            by.unwrap_or_default()
        ))),
        ("Reverted", Some(by)) => Err(Failure::Superseded(format!("{title} was reverted{by}{why}"))),
        ("Reverted", None) => Err(Failure::Ended(format!("{title} failed and took back what it did{why}"))),
        (state, _) => Err(Failure::Ended(format!("{title} ended as {state}{why}"))),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    pub(crate) fn operation(state: &str, done: bool) -> Operation {
        serde_json::from_value(json!({
            "id": "0198c0de-0000-7000-8000-000000000001", "kind": "drain", "subject": "cluster east", "state": state,
            "phase": "Forward", "done": done, "succeeded": state.starts_with("Succeeded"), "spec": {"cluster": "east"},
            "createdBy": "person/ada", "reason": "", "createTime": "2026-11-02T03:04:05Z",
            "progress": {"total": 3, "done": 1, "failed": 0, "running": 1}, "journalSeq": 4,
            "links": {"self": "", "events": ""},
        }))
        .unwrap()
    }

    fn ended_by(verb: &str) -> JournalEvent {
        serde_json::from_value(json!({
            "seq": 3, "entry": "Control", "body": {"verb": verb, "reason": "wrong cluster"}, "actor": "person/bob",
            "at": "2026-11-02T03:05:00Z", "hash": "00",
        }))
        .unwrap()
    }

    #[test]
    fn ends_of_operations_have_their_failure() {
        for (case, state, ender, expected) in [
            ("succeeded", "Succeeded", None, "Ok(())"),
            ("succeeded with exceptions", "SucceededWithExceptions", None, "Ok(())"),
            ("failed", "Failed", None, "Err(Ended("),
            ("failed after a verb", "Failed", Some("cancel"), "Err(Ended("),
            ("reverted by itself", "Reverted", None, "Err(Ended("),
            ("reverted by a person", "Reverted", Some("revert"), "Err(Superseded("),
            ("cancelled", "Cancelled", Some("cancel"), "Err(Superseded("),
            ("cancelled, and the journal is gone", "Cancelled", None, "Err(Superseded("),
            ("rejected", "Cancelled", Some("reject"), "Err(Superseded("),
            ("a state of a later version", "TimedOut", None, "Err(Ended("),
        ] {
            let ender = ender.and_then(|verb| ender_of(&ended_by(verb)));
            let found = format!("{:?}", verdict(&operation(state, true), ender.as_ref()));
            assert!(found.starts_with(expected), "{case}: expected {expected}, found {found}");
            let names = found.contains("person/bob at 2026-11-02T03:05:00Z");
            assert_eq!(names, ender.is_some() && state != "Failed", "{case}: {found}");
        }
        assert_eq!(ender_of(&ended_by("pause")), None);
    }

    #[test]
    fn only_pauses_that_a_person_ends_wait_for_one() {
        for (case, state, reason, expected) in [
            ("held", "Pending", None, true),
            ("approval", "AwaitingApproval", None, true),
            ("locks", "AwaitingLocks", None, false),
            ("running", "Running", None, false),
            ("paused by a person", "Paused", Some("Operator"), true),
            ("failed step", "Paused", Some("Failure"), true),
            ("preempted", "Paused", Some("Preempted"), false),
            ("no engine", "NoEngine", None, false),
            ("a state of a later version", "Dreaming", None, false),
        ] {
            let mut operation = operation(state, false);
            operation.pause = reason.map(|reason| {
                serde_json::from_value(json!({
                    "reason": reason, "step": "move", "message": "m", "by": "person/bob", "since": "2026-11-02T03:05:00Z",
                }))
                .unwrap()
            });
            assert_eq!(is_waiting_for_person(&operation), expected, "{case}");
            assert!(!wait_reason(&operation).is_empty(), "{case}");
        }
    }
}
