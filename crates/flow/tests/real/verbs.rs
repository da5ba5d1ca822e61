//! Verbs of persons, used in another process than the one that owns the operation.

use std::time::Duration;

use domain::operation::{EffectClass, State, TargetState, Verb};
use flow::testing::kinds::{FixedKind, REFUSE, SET, Targets, step};
use testbed::eventually;

use crate::bench::{SOON, database, key, request, verb};

#[tokio::test]
async fn verbs_of_another_process_reach_the_owner() {
    let database = database().await;
    let targets = Targets::with_goal(&["a", "b", "c"]);
    targets.hold("a");
    let mut first = step("first", SET, EffectClass::Absolute, &["a", "b", "c"]);
    first.max_parallel = 1;
    let mut second = step("second", SET, EffectClass::Absolute, &["a"]);
    (second.confirm, second.needs) = (true, vec!["first".to_owned()]);
    let mut third = step("third", REFUSE, EffectClass::Absolute, &["a", "b"]);
    third.needs = vec!["second".to_owned()];
    let kind = FixedKind::new("set", vec![first, second, third], &targets);
    let owner = database.process("owner", &[&kind]);
    let other = database.process("other", &[]);
    let id = request(&owner, "set").await.unwrap();

    // Pause: nothing more begins, and the target under way stays.
    database.until("a is under way", id, |run| run.target_state("first", "a") == TargetState::Intended).await;
    verb(&other, id, Verb::Pause, None).await;
    let run = database.until_state(id, State::Paused).await;
    assert_eq!(run.targets.keys().cloned().collect::<Vec<_>>(), [key("first", "a")]);
    targets.let_go("a");
    verb(&other, id, Verb::Resume, None).await;

    // Confirm: the next step waits for a person.
    let run = database.until_state(id, State::Paused).await;
    assert_eq!(run.target_state("first", "c"), TargetState::Succeeded);
    assert_eq!(run.target_state("second", "a"), TargetState::Waiting);
    verb(&other, id, Verb::Confirm, None).await;

    // Retry: the step is refused again. Skip: the operation goes on without its targets.
    let run = database.until_state(id, State::Paused).await;
    assert_eq!(run.target_state("third", "a"), TargetState::Failed);
    verb(&other, id, Verb::Retry, None).await;
    let is_second = |run: &domain::operation::Run| {
        run.state == State::Paused && run.targets.get(&key("third", "a")).is_some_and(|target| target.round == 1)
    };
    database.until("it was retried", id, is_second).await;
    while database.run(id).await.state == State::Paused {
        verb(&other, id, Verb::Skip, Some("third")).await;
        database.until("it goes on", id, |run| run.pause.is_none() || run.state == State::Paused).await;
    }
    database.until_state(id, State::SucceededWithExceptions).await;

    // Cancel: what is under way is settled.
    targets.hold("a");
    let id = request(&owner, "set").await.unwrap();
    database.until("a is under way", id, |run| run.target_state("first", "a") == TargetState::Intended).await;
    verb(&other, id, Verb::Cancel, None).await;
    let run = database.until_state(id, State::Cancelled).await;
    assert_eq!(run.target_state("first", "a"), TargetState::Cancelled);
    owner.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn progress_is_stored_at_most_once_a_second_and_ends() {
    let database = database().await;
    let targets = Targets::with_goal(&["a"]);
    targets.hold("a");
    let kind = FixedKind::new("set", vec![step("only", SET, EffectClass::Absolute, &["a"])], &targets);
    let owner = database.process("owner", &[&kind]);
    let id = request(&owner, "set").await.unwrap();
    let message = |run: &domain::operation::Run| {
        run.targets.get(&key("only", "a")).map(|target| target.message.clone()).unwrap_or_default()
    };
    let run = database.until("progress is stored", id, |run| message(run) == "it is on its way").await;
    let entries = database.row(id).await.journal_seq;

    // The next owner observes the same: nothing is written, and the database is not asked without end.
    owner.crash(&[id]);
    let reads = database.transactions();
    let next = database.process("next", &[&kind]);
    eventually("another process observes", SOON, async || Ok((targets.acted().len() > 1).then_some(()))).await.unwrap();
    // The rate is what is measured here: there is no condition to wait for.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let row = database.row(id).await;
    assert_eq!((row.version, row.journal_seq), (run.version, entries));
    let asked = database.transactions() - reads;
    assert!(asked < 2_000, "{asked} transactions in two seconds");
    targets.let_go("a");
    database.until_state(id, State::Succeeded).await;
    next.stop().await;
}
