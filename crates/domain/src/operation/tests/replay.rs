//! Replays a journal to the states that it implies.

use std::collections::BTreeMap;

use super::*;

/// Returns the state of the operation and of its targets after these entries.
pub(super) fn replay(journal: &[Entry]) -> (Option<State>, BTreeMap<Key, TargetState>) {
    let mut state = None;
    let mut targets = BTreeMap::new();
    let text = |entry: &Entry, field: &str| entry.body[field].as_str().unwrap_or_default().to_owned();
    for entry in journal {
        match (entry.kind, &entry.key) {
            (EntryKind::State, _) => state = State::parse(&text(entry, "to")),
            (EntryKind::Intent, Some(key)) => drop(targets.insert(key.clone(), TargetState::Intended)),
            (EntryKind::Outcome, Some(_)) if !entry.body["retryAfterSeconds"].is_null() => {
                targets.insert(entry.key.clone().unwrap(), TargetState::Waiting);
            }
            (EntryKind::Outcome | EntryKind::Note, Some(key)) => {
                targets.insert(key.clone(), TargetState::parse(&text(entry, "state")).unwrap());
            }
            _ => {}
        }
    }
    (state, targets)
}

#[test]
fn journal_of_retries_and_skips_replays_to_the_same_states() {
    let mut only = step("only", &["x", "y", "z"]);
    (only.on_failure, only.retry) = (OnFailure::Pause, Retry { max: 1, backoff_seconds: 1 });
    let mut bench = Bench::running(plan(vec![only]));
    let check = |bench: &Bench| {
        let (state, targets) = replay(&bench.journal);
        let expected: BTreeMap<Key, TargetState> =
            bench.run.targets.iter().map(|(key, target)| (key.clone(), target.state)).collect();
        assert_eq!((state, targets), (Some(bench.run.state), expected));
    };
    check(&bench);
    bench.end("only", "x", passing_failure());
    check(&bench);
    bench.end("only", "y", failed());
    check(&bench);
    bench.verb(Verb::Retry, None).unwrap();
    check(&bench);
    bench.take_locks();
    bench.verb(Verb::Skip, Some("only")).unwrap();
    check(&bench);
    assert_eq!(bench.run.state, State::SucceededWithExceptions);
}
