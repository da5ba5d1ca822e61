//! Order, conditions, limits, retries and failures of steps.

use super::*;

#[test]
fn step_begins_only_after_those_it_needs_passed() {
    let mut last = step("last", &["x"]);
    last.needs = vec!["first".to_owned(), "second".to_owned()];
    let mut bench = Bench::running(plan(vec![step("first", &["x", "y"]), step("second", &["x"]), last]));
    assert_eq!(bench.under_way(), ["first/x", "first/y", "second/x"]);
    bench.end("first", "x", succeeded());
    bench.end("second", "x", succeeded());
    assert_eq!(bench.under_way(), ["first/y"]);
    bench.end("first", "y", succeeded());
    assert_eq!(bench.under_way(), ["last/x"]);
    bench.end("last", "x", succeeded());
    assert_eq!(bench.run.state, State::Succeeded);
}

#[test]
fn condition_decides_whether_a_step_runs_or_is_skipped() {
    for (case, outcome, ran, skipped, end) in [
        ("it succeeded", succeeded(), "then", "otherwise", State::Succeeded),
        ("it failed", failed(), "otherwise", "then", State::SucceededWithExceptions),
    ] {
        let mut first = step("first", &["x"]);
        first.on_failure = OnFailure::Continue;
        let (mut then, mut otherwise) = (step("then", &["x"]), step("otherwise", &["x"]));
        then.when = Some(When::Succeeded("first".to_owned()));
        otherwise.when = Some(When::Failed("first".to_owned()));
        let mut bench = Bench::running(plan(vec![first, then, otherwise]));
        assert_eq!(bench.under_way(), ["first/x"], "{case}");
        bench.end("first", "x", outcome);
        assert_eq!(bench.under_way(), [format!("{ran}/x")], "{case}");
        assert_eq!(bench.state(skipped, "x"), TargetState::Skipped, "{case}");
        bench.end(ran, "x", succeeded());
        assert_eq!(bench.run.state, end, "{case}");
    }
}

#[test]
fn step_passes_with_its_share_of_targets() {
    for (case, require, failures, end) in [
        ("all, none failed", Require::All, 0, State::Succeeded),
        ("all, one failed", Require::All, 1, State::Failed),
        ("half, none failed", Require::Percent(50), 0, State::Succeeded),
        ("half, two failed", Require::Percent(50), 2, State::SucceededWithExceptions),
        ("half, three failed", Require::Percent(50), 3, State::Failed),
        ("none needed", Require::Percent(0), 4, State::SucceededWithExceptions),
    ] {
        let targets = ["w", "x", "y", "z"];
        let mut only = step("only", &targets);
        only.require = require;
        let mut bench = Bench::running(plan(vec![only]));
        for (index, target) in targets.into_iter().enumerate() {
            bench.end("only", target, if index < failures { failed() } else { succeeded() });
        }
        assert_eq!(bench.run.state, end, "{case}");
    }
}

#[test]
fn at_most_max_parallel_targets_are_under_way() {
    let mut only = step("only", &["w", "x", "y", "z"]);
    only.max_parallel = 2;
    let mut bench = Bench::running(plan(vec![only]));
    assert_eq!(bench.under_way(), ["only/w", "only/x"]);
    bench.end("only", "x", succeeded());
    assert_eq!(bench.under_way(), ["only/w", "only/y"]);
}

#[test]
fn retries_wait_twice_as_long_each_time_and_end() {
    let mut only = step("only", &["x"]);
    only.retry = Retry { max: 3, backoff_seconds: 20 };
    let mut bench = Bench::running(plan(vec![only]));
    for (attempt, pause) in [(0, 20), (1, 40), (2, 60)] {
        assert_eq!(bench.number("only", "x"), (0, attempt));
        bench.end("only", "x", passing_failure());
        assert_eq!(next_wake(&bench.run, bench.now), Some(bench.now + SignedDuration::from_secs(pause)));
        bench.wait(pause - 1);
        assert_eq!(bench.under_way(), [""; 0], "before the backoff ended");
        bench.wait(1);
        assert_eq!(bench.under_way(), ["only/x"]);
    }
    bench.end("only", "x", passing_failure());
    assert_eq!(bench.run.state, State::Failed);
}

#[test]
fn lasting_failure_is_not_retried() {
    let mut only = step("only", &["x"]);
    only.retry = Retry { max: 3, backoff_seconds: 0 };
    let mut bench = Bench::running(plan(vec![only]));
    bench.end("only", "x", failed());
    assert_eq!(bench.run.state, State::Failed);
}

#[test]
fn run_wakes_only_at_times_that_are_not_handled_yet() {
    let mut only = step("only", &["x", "y"]);
    (only.max_parallel, only.retry) = (1, Retry { max: 1, backoff_seconds: 5 });
    let mut bench = Bench::running(plan(vec![only]));
    bench.end("only", "x", passing_failure());
    assert_eq!(bench.under_way(), ["only/y"], "it takes the place of the one that waits");
    let deadline = bench.run.targets[&key("only", "y")].deadline;
    // The backoff of `x` is over, and there is no place for it.
    bench.wait(10);
    assert_eq!(next_wake(&bench.run, bench.now), deadline);
    // `y` acts past its deadline: the end of its act wakes the owner.
    bench.acting.insert(key("only", "y"));
    bench.wait(200);
    assert_eq!(next_wake(&bench.run, bench.now), None);
    bench.acting.clear();
    bench.wait(0);
    assert_eq!(bench.state("only", "y"), TargetState::TimedOut);
}

#[test]
fn new_owner_observes_before_a_target_times_out() {
    let mut bench = Bench::running(plan(vec![step("only", &["x"])]));
    // No process owned the operation for an hour.
    bench.now += SignedDuration::from_hours(1);
    take_over(&mut bench.run, bench.now);
    bench.wait(9);
    assert_eq!(bench.under_way(), ["only/x"]);
    bench.wait(1);
    assert_eq!(bench.state("only", "x"), TargetState::TimedOut);
    // A deadline that is further away stays.
    let mut bench = Bench::running(plan(vec![step("only", &["x"])]));
    let before = bench.run.clone();
    take_over(&mut bench.run, bench.now);
    assert_eq!(bench.run, before);
}

#[test]
fn failure_and_timeout_each_have_their_reaction() {
    for (case, reaction, state) in [
        ("fail", OnFailure::Fail, State::Failed),
        ("pause", OnFailure::Pause, State::Paused),
        ("continue", OnFailure::Continue, State::SucceededWithExceptions),
        ("revert", OnFailure::Revert, State::AwaitingLocks),
    ] {
        let mut only = step("only", &["x"]);
        (only.on_failure, only.on_timeout) = (reaction, OnFailure::Fail);
        let of = |only: Step| Plan { revert: vec![step("undo", &["x"])], ..plan(vec![only]) };
        let mut bench = Bench::running(of(only.clone()));
        bench.end("only", "x", failed());
        assert_eq!(bench.run.state, state, "{case}, on failure");

        (only.on_failure, only.on_timeout) = (OnFailure::Fail, reaction);
        let mut bench = Bench::running(of(only));
        bench.wait(119);
        assert_eq!(bench.under_way(), ["only/x"], "{case}");
        bench.wait(1);
        assert_eq!(bench.state("only", "x"), TargetState::TimedOut, "{case}");
        assert_eq!(bench.run.state, state, "{case}, on timeout");
    }
}

#[test]
fn failed_operation_with_revert_takes_back_and_ends_reverted() {
    let mut only = step("only", &["x"]);
    only.on_failure = OnFailure::Revert;
    let mut bench = Bench::running(Plan { revert: vec![step("undo", &["x"])], ..plan(vec![only]) });
    bench.end("only", "x", failed());
    assert_eq!((bench.run.state, bench.run.phase), (State::AwaitingLocks, Phase::Revert));
    bench.take_locks();
    assert_eq!(bench.under_way(), ["undo/x"]);
    bench.end("undo", "x", succeeded());
    assert_eq!(bench.run.state, State::Reverted);
}

#[test]
fn failed_revert_is_retried() {
    let mut only = step("only", &["x"]);
    only.on_failure = OnFailure::Revert;
    let mut bench = Bench::running(Plan { revert: vec![step("undo", &["x"])], ..plan(vec![only]) });
    bench.end("only", "x", failed());
    bench.take_locks();
    bench.end("undo", "x", failed());
    assert_eq!((bench.run.state, bench.run.phase), (State::Failed, Phase::Revert));
    assert!(bench.verb(Verb::Revert, None).is_err());
    bench.verb(Verb::Retry, None).unwrap();
    bench.take_locks();
    assert_eq!((bench.under_way(), bench.number("undo", "x")), (vec!["undo/x".to_owned()], (1, 0)));
    bench.end("undo", "x", succeeded());
    assert_eq!(bench.run.state, State::Reverted);
}

#[test]
fn indeterminate_target_pauses_until_a_person_decides() {
    let mut only = step("only", &["x", "y"]);
    (only.class, only.max_parallel) = (EffectClass::Opaque, 1);
    (only.on_failure, only.on_timeout) = (OnFailure::Pause, OnFailure::Pause);
    let mut bench = Bench::running(plan(vec![only]));
    bench.end("only", "x", indeterminate());
    assert_eq!((bench.run.state, bench.pause_reason()), (State::Paused, Some(PauseReason::Indeterminate)));
    assert!(bench.verb(Verb::Resume, None).is_err());
    bench.verb(Verb::Retry, None).unwrap();
    bench.take_locks();
    assert_eq!(bench.number("only", "x"), (0, 1), "its key is used again");
    bench.end("only", "x", indeterminate());
    bench.verb(Verb::Skip, None).unwrap();
    bench.take_locks();
    assert_eq!(bench.under_way(), ["only/y"]);
    bench.end("only", "y", succeeded());
    assert_eq!(bench.run.state, State::SucceededWithExceptions);
}

#[test]
fn plan_that_breaks_a_rule_is_refused() {
    let with = |change: fn(&mut Step)| {
        let mut changed = step("b", &["x"]);
        change(&mut changed);
        plan(vec![step("a", &["x"]), changed]).check().map_err(|error| error.to_string())
    };
    type Change = fn(&mut Step);
    let cases: [(&str, Change, &str); 9] = [
        ("sound", |step| step.needs = vec!["a".to_owned()], ""),
        ("an id twice", |step| "a".clone_into(&mut step.id), "not unique"),
        ("a need that comes later", |step| step.needs = vec!["c".to_owned()], "does not come before"),
        ("a condition on itself", |step| step.when = Some(When::Failed("b".to_owned())), "does not come before"),
        ("no target", |step| step.targets.clear(), "no target"),
        ("a target twice", |step| step.targets.push("x".to_owned()), "no target, or one twice"),
        ("no place", |step| step.max_parallel = 0, "at least 1"),
        ("more than all", |step| step.require = Require::Percent(101), "more than all"),
        (
            "a lost write that no person sees",
            |step| (step.class, step.on_failure) = (EffectClass::Opaque, OnFailure::Pause),
            "pauses on failure and on timeout",
        ),
    ];
    for (case, change, problem) in cases {
        let found = with(change).err().unwrap_or_default();
        assert!(if problem.is_empty() { found.is_empty() } else { found.contains(problem) }, "{case}: {found}");
    }
}

#[test]
fn target_skipped_before_its_condition_is_known_has_one_outcome() {
    let mut first = step("a", &["x"]);
    first.on_failure = OnFailure::Continue;
    let mut second = step("b", &["y", "z"]);
    second.when = Some(When::Failed("a".to_owned()));
    let mut bench = Bench::running(plan(vec![first, second]));
    let asked = Control {
        verb: Verb::Skip,
        step: Some("b".to_owned()),
        target: Some("y".to_owned()),
        actor: "eve".to_owned(),
        reason: Some("a test".to_owned()),
    };
    let now = bench.now;
    bench.journal.extend(control(&mut bench.run, &asked, now).unwrap());
    bench.end("a", "x", succeeded());
    assert_eq!((bench.state("b", "y"), bench.state("b", "z")), (TargetState::Skipped, TargetState::Skipped));
    let is_outcome = |entry: &&Entry| entry.kind == EntryKind::Outcome && entry.key == Some(key("b", "y"));
    assert_eq!(bench.journal.iter().filter(is_outcome).count(), 1);
}
