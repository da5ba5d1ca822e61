//! Operations that want the same locks.

use std::time::{Duration, Instant};

use domain::operation::{EffectClass, LockKey, LockRequest, PauseReason, Priority, State, TargetState, Verb};
use flow::CreateError;
use flow::testing::kinds::{FixedKind, SET, Targets, step};

use crate::bench::{database, request, verb};

/// Time within which an operation of higher priority has its locks.
const PREEMPTION_MAX: Duration = Duration::from_secs(10);

/// A kind that locks cluster `east` and sets one target.
fn locking(name: &'static str, priority: Priority, target: &str) -> (FixedKind, std::sync::Arc<Targets>) {
    let targets = Targets::with_goal(&[target]);
    let mut kind = FixedKind::new(name, vec![step("only", SET, EffectClass::Absolute, &[target])], &targets);
    kind.locks = vec![LockRequest::exclusive(LockKey::Cluster("east".to_owned()))];
    kind.priority = priority;
    (kind, targets)
}

#[tokio::test]
async fn higher_priority_takes_the_lock_and_the_other_resumes() {
    let database = database().await;
    let (release, low) = locking("release", Priority::Release, "a");
    let (drain, high) = locking("drain", Priority::Drain, "b");
    low.hold("a");
    high.hold("b");
    let process = database.process("one", &[&release, &drain]);
    let lower = request(&process, "release").await.unwrap();
    database.until("it is under way", lower, |run| run.target_state("only", "a") == TargetState::Intended).await;

    let begun = Instant::now();
    let higher = request(&process, "drain").await.unwrap();
    database.until_state(higher, State::Running).await;
    assert!(begun.elapsed() < PREEMPTION_MAX, "it took {:?}", begun.elapsed());
    let run = database.until_state(lower, State::AwaitingLocks).await;
    let pause = run.pause.unwrap();
    assert!(matches!(pause.reason, PauseReason::Preempted | PauseReason::Locks), "{pause:?}");
    // The lower one never has the lock while the higher one runs.
    low.let_go("a");
    let held = database.store.lock_list(None, 10).await.unwrap();
    assert_eq!(held.iter().map(|holder| holder.operation).collect::<Vec<_>>(), [higher]);
    assert_eq!(database.run(lower).await.state, State::AwaitingLocks);

    // It goes on by itself and finishes.
    high.let_go("b");
    database.until_state(higher, State::Succeeded).await;
    let run = database.until_state(lower, State::Succeeded).await;
    assert_eq!(run.targets.values().map(|target| (target.round, target.attempt)).collect::<Vec<_>>(), [(0, 0)]);
    assert!(database.store.lock_list(None, 10).await.unwrap().is_empty());
    process.stop().await;
}

#[tokio::test]
async fn paused_and_pending_holders_cede_at_once() {
    let database = database().await;
    let (release, low) = locking("release", Priority::Release, "a");
    let (drain, _) = locking("drain", Priority::Drain, "b");
    low.hold("a");
    let process = database.process("one", &[&release, &drain]);
    let lower = request(&process, "release").await.unwrap();
    database.until("it is under way", lower, |run| run.target_state("only", "a") == TargetState::Intended).await;
    verb(&process, lower, Verb::Pause, None).await;
    database.until_state(lower, State::Paused).await;
    let higher = request(&process, "drain").await.unwrap();
    database.until_state(higher, State::Succeeded).await;
    assert_eq!(database.run(lower).await.state, State::Paused);
    low.let_go("a");
    verb(&process, lower, Verb::Resume, None).await;
    database.until_state(lower, State::Succeeded).await;

    // An operation that waits for approval holds its locks, and nothing of it is under way.
    let approved = FixedKind { name: "approved", ..release.clone() };
    let mut approved = approved;
    approved.plan.approvals = 1;
    let other = database.process("other", &[&approved]);
    let waiting = request(&other, "approved").await.unwrap();
    assert_eq!(database.run(waiting).await.state, State::AwaitingApproval);
    let higher = request(&process, "drain").await.unwrap();
    database.until_state(higher, State::Succeeded).await;
    verb(&other, waiting, Verb::Approve, None).await;
    database.until_state(waiting, State::Succeeded).await;
    process.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn equal_priority_is_refused_and_names_the_holder() {
    let database = database().await;
    let (release, low) = locking("release", Priority::Release, "a");
    low.hold("a");
    let process = database.process("one", &[&release]);
    let holder = request(&process, "release").await.unwrap();
    let refused = request(&process, "release").await.unwrap_err();
    let CreateError::Locked(holders) = &refused else { panic!("{refused}") };
    assert_eq!(holders[0].operation, holder);
    let text = refused.to_string();
    for part in ["cluster/east", "release", &holder.to_string(), "ann"] {
        assert!(text.contains(part), "{text} names {part}");
    }
    low.let_go("a");
    database.until_state(holder, State::Succeeded).await;
    let next = request(&process, "release").await.unwrap();
    database.until_state(next, State::Succeeded).await;
    process.stop().await;
}
