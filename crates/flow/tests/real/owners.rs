//! Owners of operations: take-over, kinds that no process supports, and kinds that panic.

use std::time::Instant;

use domain::operation::{EffectClass, State, TargetState, Verb};
use flow::testing::LEASE;
use flow::testing::kinds::{FixedKind, PANIC, SET, Targets, step};
use flow::verify;
use vocabulary::Verdict;

use crate::bench::{SOON, database, key, kinds, request, verb};

#[tokio::test]
async fn operation_of_a_dead_process_is_taken_over_in_time() {
    let database = database().await;
    let targets = Targets::with_goal(&["a", "b"]);
    targets.hold("a");
    let kind = FixedKind::new("set", vec![step("only", SET, EffectClass::Tokened, &["a", "b"])], &targets);
    let first = database.process("first", &[&kind]);
    let id = request(&first, "set").await.unwrap();
    database.until("b is done", id, |run| run.target_state("only", "b") == TargetState::Succeeded).await;
    let acts = targets.acted().len();

    let second = database.process("second", &[&kind]);
    first.crash(&[id]);
    let begun = Instant::now();
    testbed::eventually("another process acts", SOON, async || Ok((targets.acted().len() > acts).then_some(())))
        .await
        .unwrap();
    let took = begun.elapsed();
    targets.let_go("a");
    database.until_state(id, State::Succeeded).await;
    assert!(took < LEASE * 3 || cfg!(debug_assertions) && took < LEASE * 10, "it took {took:?}");
    assert_eq!(verify(&database.store, id).await.unwrap().1, None);
    second.stop().await;
}

#[tokio::test]
async fn effect_that_took_place_before_an_outage_is_observed() {
    let database = database().await;
    let targets = Targets::with_goal(&["a"]);
    targets.hold("a");
    let mut only = step("only", SET, EffectClass::Probe, &["a"]);
    only.timeout_seconds = 1;
    let kind = FixedKind::new("set", vec![only], &targets);
    let first = database.process("first", &[&kind]);
    let id = request(&first, "set").await.unwrap();
    testbed::eventually("it acted", SOON, async || Ok((!targets.acted().is_empty()).then_some(()))).await.unwrap();
    first.crash(&[id]);
    let run = database.run(id).await;
    let deadline = run.targets[&key("only", "a")].deadline.unwrap();
    // The effect becomes visible, and the deadline passes, while no process owns the operation.
    targets.let_go("a");
    testbed::eventually("the deadline passes", SOON, async || Ok((jiff::Timestamp::now() > deadline).then_some(())))
        .await
        .unwrap();
    let second = database.process("second", &[&kind]);
    database.until_state(id, State::Succeeded).await;
    assert_eq!(targets.acted(), ["a"]);
    second.stop().await;
}

#[tokio::test]
async fn operation_of_an_unknown_kind_or_version_is_left_alone() {
    let database = database().await;
    let targets = Targets::with_goal(&["a"]);
    let forward = || vec![step("only", SET, EffectClass::Absolute, &["a"])];
    let (other, known) = (FixedKind::new("other", forward(), &targets), FixedKind::new("set", forward(), &targets));
    let newer = FixedKind { logic_version: 2, ..known.clone() };
    let process = database.process("first", &[&known]);
    let later = |kind: &FixedKind| {
        // Its engine knows no kind: it only creates operations.
        let mut process = database.process("later", &[]);
        process.kinds = kinds(&[kind]);
        process
    };
    let (of_other, of_newer) = (later(&other), later(&newer));
    let unknown = request(&of_other, "other").await.unwrap();
    let too_new = request(&of_newer, "set").await.unwrap();
    // An operation that came later ends, so the engine saw those before it.
    let own = request(&process, "set").await.unwrap();
    database.until_state(own, State::Succeeded).await;
    for id in [unknown, too_new] {
        let row = database.row(id).await;
        assert_eq!((row.state.as_str(), row.version), (State::AwaitingLocks.as_str(), 1));
    }
    for process in [process, of_other, of_newer] {
        process.stop().await;
    }
}

#[tokio::test]
async fn kind_that_panics_stops_no_other_operation() {
    let database = database().await;
    let targets = Targets::with_goal(&["a"]);
    let mut panics = step("only", PANIC, EffectClass::Absolute, &["a"]);
    panics.timeout_seconds = 1;
    let opaque = step("only", PANIC, EffectClass::Opaque, &["a"]);
    let broken = FixedKind::new("broken", vec![panics], &targets);
    let unclear = FixedKind::new("unclear", vec![opaque], &targets);
    let sound = FixedKind::new("set", vec![step("only", SET, EffectClass::Absolute, &["a"])], &targets);
    let process = database.process("first", &[&broken, &unclear, &sound]);
    let broken = request(&process, "broken").await.unwrap();
    let unclear = request(&process, "unclear").await.unwrap();
    let sound = request(&process, "set").await.unwrap();
    database.until_state(sound, State::Succeeded).await;
    let run = database.until_state(broken, State::Paused).await;
    assert_eq!(run.target_state("only", "a"), TargetState::TimedOut);
    let run = database.until_state(unclear, State::Paused).await;
    assert_eq!(run.target_state("only", "a"), TargetState::Indeterminate);
    assert!(process.is_running());
    verb(&process, broken, Verb::Cancel, None).await;
    database.until_state(broken, State::Cancelled).await;
    process.stop().await;
}

#[tokio::test]
async fn take_over_does_not_pass_a_check_that_was_not_passed() {
    let database = database().await;
    let targets = Targets::with_goal(&["a"]);
    targets.set_verdict(Verdict::Unknown);
    let mut only = step("only", SET, EffectClass::Absolute, &["a"]);
    only.pre = vec!["ready".to_owned()];
    let kind = FixedKind::new("set", vec![only], &targets);
    let first = database.process("first", &[&kind]);
    let id = request(&first, "set").await.unwrap();
    let checks = || async {
        let rows = database.store.journal_list(id, 0, 1_000).await.unwrap();
        rows.iter().filter(|row| row.entry == "Check").count()
    };
    testbed::eventually("it is checked", SOON, async || Ok((checks().await == 1).then_some(()))).await.unwrap();
    first.crash(&[id]);
    let second = database.process("second", &[&kind]);
    verb(&second, id, Verb::Pause, None).await;
    database.until_state(id, State::Paused).await;
    verb(&second, id, Verb::Resume, None).await;
    database.until_state(id, State::Running).await;
    testbed::eventually("it is checked again", SOON, async || Ok((checks().await >= 2).then_some(()))).await.unwrap();
    assert!(targets.acted().is_empty(), "{:?}", targets.acted());

    // A person overrides the check, and the attempt that waits for it goes on.
    verb(&second, id, Verb::Force, Some("only")).await;
    let run = database.until_state(id, State::SucceededWithExceptions).await;
    assert_eq!(run.targets[&key("only", "a")].attempt, 0);
    second.stop().await;
}
