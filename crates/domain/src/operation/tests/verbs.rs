//! Verbs of persons, preemption and pauses.

use super::*;

#[test]
fn pause_and_preemption_do_not_count_towards_timeouts() {
    let mut bench = Bench::running(plan(vec![step("only", &["x"])]));
    bench.wait(100);
    bench.verb(Verb::Pause, None).unwrap();
    bench.wait(1_000);
    bench.verb(Verb::Resume, None).unwrap();
    bench.take_locks();
    bench.wait(19);
    assert_eq!(bench.under_way(), ["only/x"], "119 seconds of 120");
    // Another operation takes the locks, and a person pauses the one that waits for them.
    bench.preempt();
    assert_eq!(bench.run.state, State::AwaitingLocks);
    bench.wait(1_000);
    bench.verb(Verb::Pause, None).unwrap();
    bench.wait(1_000);
    bench.verb(Verb::Resume, None).unwrap();
    bench.take_locks();
    assert_eq!(bench.under_way(), ["only/x"]);
    bench.wait(1);
    assert_eq!(bench.state("only", "x"), TargetState::TimedOut);
}

#[test]
fn pause_of_an_operation_that_cedes_counts_from_the_preemption() {
    let mut bench = Bench::running(plan(vec![step("only", &["x"])]));
    bench.wait(119);
    bench.acting.insert(key("only", "x"));
    bench.preempt();
    assert_eq!(bench.run.state, State::Pausing);
    bench.wait(10);
    bench.verb(Verb::Pause, None).unwrap();
    bench.acting.clear();
    bench.wait(10);
    assert_eq!((bench.run.state, bench.pause_reason()), (State::Paused, Some(PauseReason::Operator)));
    bench.verb(Verb::Resume, None).unwrap();
    bench.take_locks();
    assert_eq!(bench.under_way(), ["only/x"]);
}

#[test]
fn preempted_operation_goes_on_and_paused_one_does_not() {
    let mut bench = Bench::running(plan(vec![step("only", &["x"])]));
    bench.preempt();
    assert_eq!((bench.run.state, bench.pause_reason()), (State::AwaitingLocks, Some(PauseReason::Preempted)));
    bench.take_locks();
    assert_eq!((bench.run.state, bench.pause_reason()), (State::Running, None));

    bench.verb(Verb::Pause, None).unwrap();
    let before = bench.run.clone();
    bench.preempt();
    assert_eq!(bench.run, before);
    assert_eq!(bench.journal.last().unwrap().kind, EntryKind::Note);
}

#[test]
fn operation_that_has_not_begun_cedes_without_an_owner() {
    let mut bench = Bench::new(plan(vec![step("only", &["x"])]));
    bench.preempt();
    assert_eq!((bench.run.state, bench.pause_reason()), (State::AwaitingLocks, Some(PauseReason::Preempted)));
    for state in [State::Pending, State::AwaitingApproval, State::Paused] {
        assert!(cedes_at_once(state), "{state:?}");
    }
}

#[test]
fn cancel_pause_and_revert_let_acting_targets_end_first() {
    for (verb, during, settled, after) in [
        (Verb::Cancel, State::Cancelling, TargetState::Cancelled, State::Cancelled),
        (Verb::Pause, State::Pausing, TargetState::Intended, State::Paused),
        (Verb::Revert, State::Failing, TargetState::Cancelled, State::AwaitingLocks),
    ] {
        let of = plan(vec![step("only", &["x", "y", "z"])]);
        let mut bench = Bench::running(Plan { revert: vec![step("undo", &["x"])], ..of });
        bench.acting.extend([key("only", "x"), key("only", "y")]);
        bench.verb(verb, None).unwrap();
        assert_eq!(bench.run.state, during, "{verb:?}");
        bench.end("only", "x", succeeded());
        assert_eq!((bench.run.state, bench.state("only", "x")), (during, TargetState::Succeeded), "{verb:?}");
        // The act of `y` ends, and its effect was not observed.
        bench.acting.clear();
        bench.advance();
        assert_eq!((bench.run.state, bench.state("only", "y")), (after, settled), "{verb:?}");
        assert_eq!(bench.state("only", "z"), settled, "{verb:?}");
    }
}

#[test]
fn revert_of_a_paused_operation_leaves_nothing_under_way() {
    let mut bench =
        Bench::running(Plan { revert: vec![step("undo", &["x"])], ..plan(vec![step("only", &["x", "y"])]) });
    bench.end("only", "x", succeeded());
    bench.verb(Verb::Pause, None).unwrap();
    bench.verb(Verb::Revert, None).unwrap();
    assert_eq!((bench.run.state, bench.run.phase), (State::AwaitingLocks, Phase::Revert));
    assert_eq!(bench.state("only", "y"), TargetState::Cancelled);
}

#[test]
fn operation_that_did_nothing_is_not_taken_back() {
    let of = || Plan { revert: vec![step("undo", &["x"])], approvals: 1, ..plan(vec![step("only", &["x"])]) };
    let mut bench = Bench::new(of());
    bench.run.state = State::AwaitingApproval;
    bench.verb(Verb::Reject, None).unwrap();
    assert_eq!(bench.run.state, State::Cancelled);
    assert!(bench.verb(Verb::Revert, None).is_err());

    // A preempted operation did something, and takes its locks before it takes that back.
    let mut bench = Bench::running(of());
    bench.preempt();
    bench.verb(Verb::Revert, None).unwrap();
    assert_eq!((bench.run.state, bench.run.phase), (State::AwaitingLocks, Phase::Revert));
}

#[test]
fn overrides_need_a_reason_and_leave_exceptions() {
    for (verb, reason, is_possible) in [
        (Verb::Skip, None, false),
        (Verb::Skip, Some(" "), false),
        (Verb::Skip, Some("it is gone"), true),
        (Verb::Force, None, false),
        (Verb::Force, Some("the check is wrong"), true),
        (Verb::Retry, None, true),
    ] {
        let mut only = step("only", &["x"]);
        only.on_failure = OnFailure::Pause;
        let mut bench = Bench::running(plan(vec![only]));
        bench.end("only", "x", failed());
        let asked =
            Control { verb, step: None, target: None, actor: "eve".to_owned(), reason: reason.map(str::to_owned) };
        let found = control(&mut bench.run, &asked, bench.now);
        assert_eq!(found.is_ok(), is_possible, "{verb:?} {reason:?}: {found:?}");
        if !is_possible {
            continue;
        }
        bench.take_locks();
        bench.end("only", "x", succeeded());
        let end = if verb == Verb::Retry { State::Succeeded } else { State::SucceededWithExceptions };
        assert_eq!(bench.run.state, end, "{verb:?}");
    }
}

#[test]
fn skip_of_a_conditional_step_is_an_exception() {
    let mut then = step("then", &["x"]);
    then.when = Some(When::Succeeded("first".to_owned()));
    let mut bench = Bench::running(plan(vec![step("first", &["x"]), then]));
    bench.end("first", "x", succeeded());
    bench.verb(Verb::Skip, Some("then")).unwrap();
    assert_eq!(bench.run.state, State::SucceededWithExceptions);
}

#[test]
fn skip_of_one_target_leaves_the_others_under_way() {
    let mut bench = Bench::running(plan(vec![step("only", &["x", "y"])]));
    let asked = Control {
        verb: Verb::Skip,
        step: Some("only".to_owned()),
        target: Some("x".to_owned()),
        actor: "eve".to_owned(),
        reason: Some("it is gone".to_owned()),
    };
    control(&mut bench.run, &asked, bench.now).unwrap();
    bench.advance();
    assert_eq!(bench.under_way(), ["only/y"]);
    let other = Control { target: Some("q".to_owned()), ..asked };
    assert!(control(&mut bench.run, &other, bench.now).is_err(), "it has no such target");
}

#[test]
fn retry_begins_a_round_only_after_a_definite_failure() {
    for (case, class, outcome, number) in [
        ("failed", EffectClass::Tokened, Some(failed()), (1, 0)),
        ("timed out", EffectClass::Tokened, None, (0, 1)),
        ("indeterminate", EffectClass::Tokened, Some(indeterminate()), (0, 1)),
    ] {
        let mut only = step("only", &["x"]);
        (only.class, only.on_failure, only.on_timeout) = (class, OnFailure::Pause, OnFailure::Pause);
        let mut bench = Bench::running(plan(vec![only]));
        match outcome {
            Some(outcome) => bench.end("only", "x", outcome),
            None => bench.wait(120),
        }
        assert_eq!(bench.run.state, State::Paused, "{case}");
        bench.verb(Verb::Retry, None).unwrap();
        bench.take_locks();
        assert_eq!((bench.under_way(), bench.number("only", "x")), (vec!["only/x".to_owned()], number), "{case}");
    }
}

#[test]
fn retry_of_one_step_continues_those_that_its_failure_stopped() {
    let mut bench = Bench::running(plan(vec![step("a", &["x"]), step("b", &["x"])]));
    bench.end("a", "x", failed());
    assert_eq!((bench.run.state, bench.state("b", "x")), (State::Failed, TargetState::Cancelled));
    bench.verb(Verb::Retry, Some("a")).unwrap();
    bench.take_locks();
    assert_eq!(bench.under_way(), ["a/x", "b/x"]);
    assert_eq!((bench.number("a", "x"), bench.number("b", "x")), ((1, 0), (0, 1)));
}

#[test]
fn result_of_an_earlier_attempt_is_dropped() {
    let mut only = step("only", &["x"]);
    only.on_timeout = OnFailure::Pause;
    let mut bench = Bench::running(plan(vec![only]));
    bench.wait(120);
    bench.verb(Verb::Retry, None).unwrap();
    bench.take_locks();
    let late = conclude(&mut bench.run, &key("only", "x"), (0, 0), failed(), bench.now);
    assert_eq!((late.len(), bench.under_way()), (0, vec!["only/x".to_owned()]));
}

#[test]
fn confirm_opens_the_step_that_waits_for_it() {
    let mut second = step("second", &["x"]);
    second.confirm = true;
    let mut bench = Bench::running(plan(vec![step("first", &["x"]), second]));
    assert_eq!(bench.run.state, State::Running, "other work ends before the pause");
    bench.end("first", "x", succeeded());
    assert_eq!((bench.run.state, bench.pause_reason()), (State::Paused, Some(PauseReason::Confirm)));
    bench.verb(Verb::Confirm, None).unwrap();
    bench.take_locks();
    assert_eq!(bench.under_way(), ["second/x"]);
}

#[test]
fn approvals_come_from_other_persons_than_the_starter() {
    let mut bench = Bench::new(Plan { approvals: 2, ..plan(vec![step("only", &["x"])]) });
    bench.run.state = State::Pending;
    bench.verb(Verb::Start, None).unwrap();
    let approve = |run: &mut Run, actor: &str| {
        let asked = Control { verb: Verb::Approve, step: None, target: None, actor: actor.to_owned(), reason: None };
        control(run, &asked, "2026-01-01T00:00:00Z".parse().unwrap()).map(|_| run.state)
    };
    assert!(approve(&mut bench.run, "ann").is_err(), "she started it");
    for (actor, state) in
        [("eve", State::AwaitingApproval), ("eve", State::AwaitingApproval), ("bob", State::AwaitingLocks)]
    {
        assert_eq!(approve(&mut bench.run, actor), Ok(state), "{actor}");
    }
}

#[test]
fn verb_for_a_step_of_the_other_phase_is_refused() {
    let of = plan(vec![step("only", &["x"])]);
    let mut bench = Bench::running(Plan { revert: vec![step("undo", &["x"])], ..of });
    bench.end("only", "x", succeeded());
    bench.verb(Verb::Revert, None).unwrap();
    bench.take_locks();
    bench.end("undo", "x", failed());
    assert!(bench.verb(Verb::Retry, Some("only")).is_err());
    bench.verb(Verb::Retry, Some("undo")).unwrap();
}
