//! Decides what follows an edit of an Application. Pure.

use domain::operation::State;
use store::{CellDecisionRow, OperationRow, Slot};
use vocabulary::ContentHash;

use super::edit::Edited;

/// What follows an edit.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Next {
    /// This operation releases the revision.
    Found(Box<OperationRow>),
    /// An operation for the revision is expected.
    Wait,
    /// The revision runs in every cell, and nothing is to be done.
    Running,
    /// The Application has no batches, so the revision goes cell by cell without an operation.
    CellByCell,
    /// The last release of the revision is over, and a new one must be created.
    Create,
    /// The last release of the revision is over, and only a request without a change releases it again.
    Over(Box<OperationRow>),
}

/// What is known when the edit is done.
#[derive(Debug, Clone)]
pub(super) struct Known<'a> {
    pub(super) edited: &'a Edited,
    /// The request changes nothing and asks for another release.
    pub(super) is_again: bool,
    /// The newest release of the Application before the edit.
    pub(super) before: Option<&'a OperationRow>,
    /// The newest release of the revision.
    pub(super) newest: Option<&'a OperationRow>,
    /// Decisions about the cells of the Application.
    pub(super) cells: &'a [CellDecisionRow],
}

/// Decides what follows.
pub(super) fn next(known: &Known<'_>) -> Next {
    let Known { edited, is_again, before, newest, cells } = known;
    if let Some(open) = newest.filter(|operation| !is_over(operation)) {
        return Next::Found(Box::new(open.clone()));
    }
    if edited.is_new_revision {
        // An older release of the same revision is over; this edit brings another one.
        let is_newer = |operation: &&OperationRow| before.is_none_or(|before| operation.created_at > before.created_at);
        return match newest.filter(is_newer) {
            Some(newest) => Next::Found(Box::new(newest.clone())),
            None if edited.has_batches => Next::Wait,
            None => Next::CellByCell,
        };
    }
    if is_running(cells, &edited.revision) {
        return Next::Running;
    }
    match (edited.has_batches, newest) {
        (false, _) => Next::CellByCell,
        (true, None) => Next::Wait,
        (true, Some(_)) if *is_again => Next::Create,
        (true, Some(newest)) => Next::Over(Box::new(OperationRow::clone(newest))),
    }
}

fn is_over(operation: &OperationRow) -> bool {
    State::parse(&operation.state).is_some_and(State::is_terminal)
}

/// Returns whether every cell of an Application runs a revision, and no cell is between two.
pub(super) fn is_running(cells: &[CellDecisionRow], revision: &ContentHash) -> bool {
    !cells.is_empty() && cells.iter().all(|cell| cell.slot == Slot::Main && cell.revision == *revision)
}

#[cfg(test)]
pub(super) mod tests {
    use jiff::Timestamp;
    use serde_json::{Value, json};
    use vocabulary::OperationId;

    use super::*;

    pub(in crate::releases) fn operation(state: &str, created_at: i64) -> OperationRow {
        let at = Timestamp::from_second(created_at).unwrap();
        OperationRow {
            id: OperationId::generate(),
            kind: "release".to_owned(),
            logic_version: 1,
            priority: 30,
            subject: "application shop/web".to_owned(),
            spec: json!({"application": "shop/web", "revision": hash(1).to_string()}),
            plan: Value::Null,
            state: state.to_owned(),
            phase: "Forward".to_owned(),
            pause: None,
            marks: json!({}),
            version: 1,
            actor: "token/ci".to_owned(),
            reason: String::new(),
            created_at: at,
            started_at: None,
            ended_at: None,
            changed_at: at,
            journal_seq: 1,
        }
    }

    pub(in crate::releases) fn hash(number: u8) -> ContentHash {
        ContentHash::of(&[number])
    }

    pub(in crate::releases) fn cell(name: &str, slot: Slot, revision: u8) -> CellDecisionRow {
        CellDecisionRow {
            cell: name.to_owned(),
            slot,
            target: 5,
            revision: hash(revision),
            inputs: None,
            inputs_wanted: None,
        }
    }

    #[test]
    fn edits_lead_to_the_operation_that_releases_them() {
        let (open, over) = (operation("Running", 20), operation("Reverted", 20));
        let old = operation("Succeeded", 10);
        let (new, half) = ([cell("a", Slot::Main, 1)], [cell("a", Slot::Main, 1), cell("b", Slot::Main, 2)]);
        let gray = [cell("a", Slot::Main, 1), cell("a", Slot::Gray, 1)];
        let found = |operation: &OperationRow| Next::Found(Box::new(operation.clone()));
        for (case, is_new_revision, has_batches, is_again, before, newest, cells, expected) in [
            ("a new revision", true, true, false, None, None, &half[..], Next::Wait),
            ("taken in already", true, true, false, Some(&old), Some(&open), &half, found(&open)),
            ("over already", true, true, false, Some(&old), Some(&over), &half, found(&over)),
            ("a revision released long ago", true, true, false, Some(&over), Some(&old), &half, Next::Wait),
            ("released last", true, true, false, Some(&old), Some(&old), &half, Next::Wait),
            ("no batches", true, false, false, None, None, &half, Next::CellByCell),
            ("the same again, under way", false, true, false, Some(&open), Some(&open), &half, found(&open)),
            ("the same again, done", false, true, false, Some(&old), Some(&old), &new, Next::Running),
            ("in both slots", false, true, true, Some(&old), Some(&old), &gray, Next::Create),
            ("retry", false, true, true, Some(&over), Some(&over), &half, Next::Create),
            ("retry while it runs", false, true, true, Some(&open), Some(&open), &half, found(&open)),
            ("retry of nothing", false, true, true, None, None, &new, Next::Running),
            (
                "the same after a rollback",
                false,
                true,
                false,
                Some(&over),
                Some(&over),
                &half,
                Next::Over(Box::new(over.clone())),
            ),
            ("not begun yet", false, true, false, None, None, &half, Next::Wait),
            ("placed nowhere", false, true, true, None, None, &[], Next::Wait),
            ("under way, no batches", false, false, true, None, None, &half, Next::CellByCell),
        ] {
            let edited = Edited { revision: hash(1), generation: 2, is_new_revision, has_batches };
            let known = Known { edited: &edited, is_again, before, newest, cells };
            assert_eq!(next(&known), expected, "{case}");
        }
    }
}
