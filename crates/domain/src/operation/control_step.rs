//! Verbs about one step: `retry`, `skip`, `confirm` and `force`. Pure.

use jiff::Timestamp;
use serde_json::json;

use super::advance::settle;
use super::entry::{Entry, EntryKind};
use super::run::{Key, PauseReason, Run, State, TargetState};
use super::verb::{Control, ControlRefusal, Verb, go_on, refuse};

pub(super) fn retry(
    run: &mut Run,
    control: &Control,
    now: Timestamp,
    entries: &mut Vec<Entry>,
) -> Result<(), ControlRefusal> {
    let paused_by_failure =
        matches!(run.pause.as_ref().map(|pause| pause.reason), Some(PauseReason::Failure | PauseReason::Indeterminate));
    let is_possible =
        matches!(run.state, State::Paused | State::Pausing) && paused_by_failure || run.state == State::Failed;
    if !is_possible {
        return Err(refuse(run, Verb::Retry, "only a failed step is retried"));
    }
    let steps = match &control.step {
        None if run.state == State::Failed => run.steps().iter().map(|step| step.id.clone()).collect(),
        _ => vec![step_of(run, control)?],
    };
    let mut keys = Vec::new();
    for step in &steps {
        keys.extend(targets_of(run, step, control, TargetState::needs_person)?);
    }
    if keys.is_empty() {
        return Err(ControlRefusal::Invalid("no target of the step failed".to_owned()));
    }
    // The failure stopped these targets as well. They would fail the operation again at once.
    let is_stopped = |key: &Key| run.steps().iter().any(|step| step.id == key.step) && !keys.contains(key);
    let stopped = run.targets.iter().filter(|(key, target)| target.state == TargetState::Cancelled && is_stopped(key));
    let stopped: Vec<Key> = stopped.map(|(key, _)| key.clone()).collect();
    for key in keys.iter().chain(&stopped) {
        begin_again(run, key, now, entries);
    }
    run.marks.failure = None;
    run.marks.revert_on_failure = false;
    go_on(run, &control.actor, now, entries);
    Ok(())
}

/// Lets a target begin again.
///
/// Only a definite failure ends a round. After any other end the effect may be there, so its key is used again.
fn begin_again(run: &mut Run, key: &Key, now: Timestamp, entries: &mut Vec<Entry>) {
    let target = run.target_mut(key, now);
    (target.round, target.attempt) = match target.state {
        TargetState::Failed => (target.round + 1, 0),
        _ => (target.round, target.attempt + 1),
    };
    (target.state, target.run_after, target.deadline, target.changed_at) = (TargetState::Waiting, None, None, now);
    let body = json!({"state": target.state.as_str()});
    entries.push(Entry::of_target(EntryKind::Note, run, key, body, now));
}

pub(super) fn skip(
    run: &mut Run,
    control: &Control,
    now: Timestamp,
    entries: &mut Vec<Entry>,
) -> Result<(), ControlRefusal> {
    if !matches!(run.state, State::Paused | State::Pausing | State::AwaitingLocks | State::Running) {
        return Err(refuse(run, Verb::Skip, "nothing of it is skipped now"));
    }
    let step = step_of(run, control)?;
    let mut keys = targets_of(run, &step, control, TargetState::needs_person)?;
    if keys.is_empty() {
        // A target under way is skipped as well: the person says that its effect is there, or not needed.
        keys =
            targets_of(run, &step, control, |state| !matches!(state, TargetState::Succeeded | TargetState::Skipped))?;
    }
    let message = format!("skipped by {}: {}", control.actor, control.reason.as_deref().unwrap_or_default());
    if !keys.is_empty() {
        run.marks.skipped.insert(step.clone());
    }
    for key in keys {
        let target = run.target_mut(&key, now);
        // The journal has the outcome of this attempt already.
        target.attempt += i32::from(target.state.is_settled());
        settle(run, &key, TargetState::Skipped, &message, now, entries);
    }
    let waited_for_it = run.pause.as_ref().is_some_and(|pause| pause.step.as_deref() == Some(step.as_str()));
    if waited_for_it {
        go_on(run, &control.actor, now, entries);
    }
    Ok(())
}

pub(super) fn confirm(
    run: &mut Run,
    control: &Control,
    now: Timestamp,
    entries: &mut Vec<Entry>,
) -> Result<(), ControlRefusal> {
    if run.state.is_terminal() {
        return Err(refuse(run, Verb::Confirm, "it is over"));
    }
    let step = step_of(run, control)?;
    run.marks.confirmed.insert(step);
    if run.pause.as_ref().is_some_and(|pause| pause.reason == PauseReason::Confirm) {
        go_on(run, &control.actor, now, entries);
    }
    Ok(())
}

pub(super) fn force(
    run: &mut Run,
    control: &Control,
    now: Timestamp,
    entries: &mut Vec<Entry>,
) -> Result<(), ControlRefusal> {
    if run.state.is_terminal() {
        return Err(refuse(run, Verb::Force, "it is over"));
    }
    let step = step_of(run, control)?;
    run.marks.forced.insert(step.clone());
    let failed_by_it = run.pause.as_ref().is_some_and(|pause| {
        pause.step.as_ref() == Some(&step) && matches!(pause.reason, PauseReason::Failure | PauseReason::Indeterminate)
    });
    if failed_by_it {
        retry(run, control, now, entries)?;
    }
    Ok(())
}

/// Returns the step that a verb is about: the one named, or the one that pauses the operation.
fn step_of(run: &Run, control: &Control) -> Result<String, ControlRefusal> {
    let verb = control.verb.as_str();
    let named = control.step.clone().or_else(|| run.pause.as_ref().and_then(|pause| pause.step.clone()));
    let id =
        named.ok_or_else(|| ControlRefusal::Invalid(format!("name the step to {verb}: none pauses the operation")))?;
    let ids: Vec<&str> = run.steps().iter().map(|step| step.id.as_str()).collect();
    if !ids.contains(&id.as_str()) {
        let ids = ids.join(", ");
        return Err(ControlRefusal::Invalid(format!("step {id} is not one of those under way, which are {ids}")));
    }
    Ok(id)
}

/// Returns the targets of a step that a verb is about, of those in a fitting state.
fn targets_of(
    run: &Run,
    step: &str,
    control: &Control,
    fits: impl Fn(TargetState) -> bool,
) -> Result<Vec<Key>, ControlRefusal> {
    let all = run.plan.step(step).map(|step| step.targets.clone()).unwrap_or_default();
    if let Some(target) = control.target.as_ref().filter(|target| !all.contains(target)) {
        return Err(ControlRefusal::Invalid(format!("step {step} has no target {target}")));
    }
    let chosen = all.into_iter().filter(|target| control.target.as_ref().is_none_or(|one| one == target));
    Ok(chosen
        .filter(|target| fits(run.target_state(step, target)))
        .map(|target| Key { step: step.to_owned(), target })
        .collect())
}
