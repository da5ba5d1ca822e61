//! The table of the module's documentation: every state and every verb.

use super::*;

/// Verbs in the order of the columns below.
const VERBS: [Verb; 11] = [
    Verb::Start,
    Verb::Pause,
    Verb::Resume,
    Verb::Cancel,
    Verb::Retry,
    Verb::Skip,
    Verb::Approve,
    Verb::Reject,
    Verb::Confirm,
    Verb::Revert,
    Verb::Force,
];

/// State, cause of its pause, and the state after each verb: `-` is refused, `=` stays.
#[rustfmt::skip]
const TABLE: [(State, Option<PauseReason>, [&str; 11]); 20] = {
    use PauseReason::*;
    use State::*;
    [
        // State, pause, start, pause, resume, cancel, retry, skip, approve, reject, confirm, revert, force
        (Pending, None, ["AwaitingApproval", "-", "-", "Cancelled", "-", "-", "-", "-", "=", "-", "="]),
        (AwaitingApproval, None, ["=", "-", "-", "Cancelled", "-", "-", "AwaitingLocks", "Cancelled", "=", "-", "="]),
        (AwaitingLocks, None, ["=", "Pausing", "=", "Cancelling", "-", "=", "-", "-", "=", "Failing", "="]),
        (AwaitingLocks, Some(Locks), ["=", "Pausing", "=", "Cancelling", "-", "=", "-", "-", "=", "Failing", "="]),
        (Running, None, ["=", "Pausing", "=", "Cancelling", "-", "=", "-", "-", "=", "Failing", "="]),
        (Pausing, Some(Operator), ["-", "=", "AwaitingLocks", "Cancelling", "-", "=", "-", "-", "=", "Failing", "="]),
        (Pausing, Some(Preempted), ["-", "=", "-", "Cancelling", "-", "=", "-", "-", "=", "Failing", "="]),
        (Pausing, Some(Failure),
            ["-", "=", "-", "Cancelling", "AwaitingLocks", "AwaitingLocks", "-", "-", "=", "Failing", "AwaitingLocks"]),
        (Pausing, Some(Confirm),
            ["-", "=", "-", "Cancelling", "-", "AwaitingLocks", "-", "-", "AwaitingLocks", "Failing", "="]),
        (Paused, Some(Operator),
            ["-", "=", "AwaitingLocks", "Cancelled", "-", "=", "-", "-", "=", "AwaitingLocks", "="]),
        (Paused, Some(Failure),
            ["-", "=", "-", "Cancelled", "AwaitingLocks", "AwaitingLocks", "-", "-", "=", "AwaitingLocks", "AwaitingLocks"]),
        (Paused, Some(Indeterminate),
            ["-", "=", "-", "Cancelled", "AwaitingLocks", "AwaitingLocks", "-", "-", "=", "AwaitingLocks", "AwaitingLocks"]),
        (Paused, Some(Confirm),
            ["-", "=", "-", "Cancelled", "-", "AwaitingLocks", "-", "-", "AwaitingLocks", "AwaitingLocks", "="]),
        (Cancelling, None, ["-", "-", "-", "=", "-", "-", "-", "-", "=", "Failing", "="]),
        (Failing, None, ["-", "-", "-", "Cancelling", "-", "-", "-", "-", "=", "=", "="]),
        (Succeeded, None, ["-", "-", "-", "-", "-", "-", "-", "-", "-", "AwaitingLocks", "-"]),
        (SucceededWithExceptions, None, ["-", "-", "-", "-", "-", "-", "-", "-", "-", "AwaitingLocks", "-"]),
        (Failed, None, ["-", "-", "-", "-", "AwaitingLocks", "-", "-", "-", "-", "AwaitingLocks", "-"]),
        (Cancelled, None, ["-", "-", "-", "=", "-", "-", "-", "-", "-", "AwaitingLocks", "-"]),
        (Reverted, None, ["-", "-", "-", "-", "-", "-", "-", "-", "-", "=", "-"]),
    ]
};

/// Returns a run in this state: target `x` of step `a` succeeded, and `y` is as the state implies.
fn run_in(state: State, pause: Option<PauseReason>) -> Run {
    let mut bench =
        Bench::new(Plan { revert: vec![step("undo", &["x"])], approvals: 1, ..plan(vec![step("a", &["x", "y"])]) });
    let now = bench.now;
    let waits_for_step =
        matches!(pause, Some(PauseReason::Failure | PauseReason::Indeterminate | PauseReason::Confirm));
    bench.run.state = state;
    bench.run.pause = pause.map(|reason| Pause {
        reason,
        step: waits_for_step.then(|| "a".to_owned()),
        message: "it waits".to_owned(),
        by: "ann".to_owned(),
        since: now,
    });
    if state == State::Reverted {
        bench.run.phase = Phase::Revert;
    }
    if matches!(state, State::Pending | State::AwaitingApproval) {
        return bench.run;
    }
    let other = match (state, pause) {
        (_, Some(PauseReason::Failure)) | (State::Failed, _) => TargetState::Failed,
        (_, Some(PauseReason::Indeterminate)) => TargetState::Indeterminate,
        (State::Running, _) => TargetState::Intended,
        (State::Cancelled, _) => TargetState::Cancelled,
        _ => TargetState::Waiting,
    };
    for (target, state) in [("x", TargetState::Succeeded), ("y", other)] {
        let run = TargetRun {
            state,
            round: 0,
            attempt: 0,
            run_after: None,
            deadline: None,
            message: String::new(),
            changed_at: now,
        };
        bench.run.targets.insert(key("a", target), run);
    }
    bench.run
}

#[test]
fn every_verb_in_every_state_has_its_effect_or_is_refused() {
    let mut wrong = Vec::new();
    for (state, pause, expected) in TABLE {
        for (verb, expected) in VERBS.into_iter().zip(expected) {
            let before = run_in(state, pause);
            let mut after = before.clone();
            let asked = Control {
                verb,
                step: matches!(verb, Verb::Retry | Verb::Skip | Verb::Confirm | Verb::Force).then(|| "a".to_owned()),
                target: None,
                actor: "eve".to_owned(),
                reason: Some("a test".to_owned()),
            };
            let now = "2026-01-01T00:00:10Z".parse().unwrap();
            let found = match control(&mut after, &asked, now) {
                Err(_) => {
                    assert_eq!(after, before, "{state:?} {verb:?}: a refused verb changes nothing");
                    "-"
                }
                Ok(_) if after.state == state => "=",
                Ok(entries) => {
                    assert_eq!(entries[0].kind, EntryKind::Control, "{state:?} {verb:?}");
                    let last = entries.iter().rfind(|entry| entry.kind == EntryKind::State).expect("a state entry");
                    assert_eq!(last.body["to"], after.state.as_str(), "{state:?} {verb:?}");
                    after.state.as_str()
                }
            };
            if found != expected {
                wrong.push(format!("{state:?} ({pause:?}), {verb:?}: expected {expected}, found {found}"));
            }
            // Repeating a verb changes nothing, or is refused because the operation is past it.
            let mut again = after.clone();
            if control(&mut again, &asked, now).is_ok() {
                assert_eq!(again, after, "{state:?} ({pause:?}), {verb:?} twice");
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let states: BTreeSet<&str> = TABLE.iter().map(|(state, ..)| state.as_str()).collect();
    assert_eq!(states.len(), 13, "every state is in the table");
    assert_eq!(VERBS.to_vec(), Verb::all().collect::<Vec<_>>(), "every verb is in the table");
}

#[test]
fn texts_of_states_and_verbs_are_parsed_back() {
    for (state, ..) in TABLE {
        assert_eq!(State::parse(state.as_str()), Some(state));
    }
    for verb in VERBS {
        assert_eq!(Verb::parse(verb.as_str()), Some(verb));
    }
    assert_eq!((State::parse("running"), Verb::parse("")), (None, None));
}
