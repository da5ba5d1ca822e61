//! Applies what a person asks of an operation. Pure.

use jiff::Timestamp;
use serde_json::json;

use super::advance::{enter, pause};
use super::entry::{ENGINE, Entry, EntryKind};
use super::run::{Key, Pause, PauseReason, Phase, Run, State, TargetState};

/// A verb; the same words are rights, REST paths and commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the words are those of `docs/operations.md`")]
pub enum Verb {
    Start,
    Pause,
    Resume,
    Cancel,
    Retry,
    Skip,
    Approve,
    Reject,
    Confirm,
    Revert,
    Force,
}

/// All verbs with their text form.
const VERBS: [(Verb, &str); 11] = [
    (Verb::Start, "start"),
    (Verb::Pause, "pause"),
    (Verb::Resume, "resume"),
    (Verb::Cancel, "cancel"),
    (Verb::Retry, "retry"),
    (Verb::Skip, "skip"),
    (Verb::Approve, "approve"),
    (Verb::Reject, "reject"),
    (Verb::Confirm, "confirm"),
    (Verb::Revert, "revert"),
    (Verb::Force, "force"),
];

impl Verb {
    /// Returns all verbs.
    pub fn all() -> impl Iterator<Item = Self> {
        VERBS.iter().map(|(verb, _)| *verb)
    }

    /// Returns the text form.
    pub fn as_str(self) -> &'static str {
        VERBS.iter().find(|(verb, _)| *verb == self).map_or("", |(_, text)| text)
    }

    /// Parses the text form.
    pub fn parse(text: &str) -> Option<Self> {
        VERBS.iter().find(|(_, known)| *known == text).map(|(verb, _)| *verb)
    }

    /// Returns whether the verb overrides a safeguard, so that a reason is mandatory.
    pub const fn needs_reason(self) -> bool {
        matches!(self, Self::Skip | Self::Force | Self::Reject)
    }
}

/// What a person asks of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// The verb.
    pub verb: Verb,
    /// Step that it is about, for `retry`, `skip`, `confirm` and `force`; the one that pauses the operation otherwise.
    pub step: Option<String>,
    /// Target that it is about; all that need it otherwise.
    pub target: Option<String>,
    /// Person or machine identity.
    pub actor: String,
    /// Why.
    pub reason: Option<String>,
}

/// Why a verb is not possible.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlRefusal {
    /// The verb does not fit the state of the operation.
    #[error("{verb} is not possible: {why}")]
    State {
        /// The verb.
        verb: &'static str,
        /// Present state and what is possible.
        why: String,
    },
    /// The request itself is wrong.
    #[error("{0}")]
    Invalid(String),
}

/// Applies a verb, and returns the journal entries of the changes. A repeated verb changes nothing.
///
/// # Errors
/// [`ControlRefusal`] when the verb does not fit; nothing was changed.
pub fn control(run: &mut Run, control: &Control, now: Timestamp) -> Result<Vec<Entry>, ControlRefusal> {
    if control.verb.needs_reason() && control.reason.as_deref().is_none_or(|reason| reason.trim().is_empty()) {
        return Err(ControlRefusal::Invalid(format!("{} needs a reason", control.verb.as_str())));
    }
    let mut entries = vec![Entry {
        kind: EntryKind::Control,
        key: None,
        attempt: None,
        body: json!({
            "verb": control.verb.as_str(),
            "step": control.step,
            "target": control.target,
            "reason": control.reason,
        }),
        actor: control.actor.clone(),
        at: now,
    }];
    let mut changed = run.clone();
    let actor = control.actor.as_str();
    match control.verb {
        Verb::Start => start(&mut changed, actor, now, &mut entries)?,
        Verb::Approve => approve(&mut changed, control, now, &mut entries)?,
        Verb::Reject => reject(&mut changed, control, now, &mut entries)?,
        Verb::Pause => pause_by_person(&mut changed, control, now, &mut entries)?,
        Verb::Resume => resume(&mut changed, actor, now, &mut entries)?,
        Verb::Cancel => cancel(&mut changed, actor, now, &mut entries)?,
        Verb::Retry => retry(&mut changed, control, now, &mut entries)?,
        Verb::Skip => skip(&mut changed, control, now, &mut entries)?,
        Verb::Confirm => confirm(&mut changed, control, now, &mut entries)?,
        Verb::Force => force(&mut changed, control, now, &mut entries)?,
        Verb::Revert => revert(&mut changed, actor, now, &mut entries)?,
    }
    if changed == *run {
        return Ok(Vec::new());
    }
    *run = changed;
    Ok(entries)
}

fn refuse(run: &Run, verb: Verb, possible: &str) -> ControlRefusal {
    let waits = run.pause.as_ref().map(|pause| format!(" ({})", pause.message)).unwrap_or_default();
    ControlRefusal::State {
        verb: verb.as_str(),
        why: format!("the operation is {}{waits}; {possible}", run.state.as_str()),
    }
}

fn start(run: &mut Run, actor: &str, now: Timestamp, entries: &mut Vec<Entry>) -> Result<(), ControlRefusal> {
    match run.state {
        State::Pending => {
            let next = if run.plan.approvals > 0 { State::AwaitingApproval } else { State::AwaitingLocks };
            enter(run, next, actor, now, entries);
            Ok(())
        }
        State::AwaitingApproval | State::AwaitingLocks | State::Running => Ok(()),
        _ => Err(refuse(run, Verb::Start, "only a pending operation is started")),
    }
}

fn approve(run: &mut Run, control: &Control, now: Timestamp, entries: &mut Vec<Entry>) -> Result<(), ControlRefusal> {
    if run.state != State::AwaitingApproval {
        return Err(refuse(run, Verb::Approve, "it needs no approval now"));
    }
    if control.actor == run.actor {
        return Err(ControlRefusal::Invalid(format!(
            "{} started the operation; another person must approve it",
            run.actor
        )));
    }
    run.marks.approvals.insert(control.actor.clone());
    if run.marks.approvals.len() >= run.plan.approvals {
        enter(run, State::AwaitingLocks, &control.actor, now, entries);
    }
    Ok(())
}

fn reject(run: &mut Run, control: &Control, now: Timestamp, entries: &mut Vec<Entry>) -> Result<(), ControlRefusal> {
    if run.state != State::AwaitingApproval {
        return Err(refuse(run, Verb::Reject, "it waits for no approval; use cancel"));
    }
    run.marks.failure =
        Some(format!("rejected by {}: {}", control.actor, control.reason.as_deref().unwrap_or_default()));
    enter(run, State::Cancelling, &control.actor, now, entries);
    Ok(())
}

fn pause_by_person(
    run: &mut Run,
    control: &Control,
    now: Timestamp,
    entries: &mut Vec<Entry>,
) -> Result<(), ControlRefusal> {
    let by_person = || Pause {
        reason: PauseReason::Operator,
        step: None,
        message: format!("paused by {}; `resume` goes on", control.actor),
        by: control.actor.clone(),
        since: now,
    };
    match run.state {
        State::Running | State::AwaitingLocks => pause(run, by_person(), now, entries),
        // A preempted operation would go on by itself.
        State::Pausing if run.pause.as_ref().is_some_and(|pause| pause.reason == PauseReason::Preempted) => {
            run.pause = Some(by_person());
        }
        State::Pausing | State::Paused => {}
        _ => return Err(refuse(run, Verb::Pause, "only a running operation is paused")),
    }
    Ok(())
}

fn resume(run: &mut Run, actor: &str, now: Timestamp, entries: &mut Vec<Entry>) -> Result<(), ControlRefusal> {
    match (run.state, run.pause.as_ref().map(|pause| pause.reason)) {
        (State::Running | State::AwaitingLocks, _) => Ok(()),
        (State::Pausing | State::Paused, Some(PauseReason::Operator) | None) => {
            go_on(run, actor, now, entries);
            Ok(())
        }
        (State::Pausing | State::Paused, _) => Err(refuse(run, Verb::Resume, "that ends the pause")),
        _ => Err(refuse(run, Verb::Resume, "only a paused operation is resumed")),
    }
}

/// Begins or continues an operation that has its locks.
pub fn begin(run: &mut Run, now: Timestamp) -> Vec<Entry> {
    let mut entries = Vec::new();
    shift_deadlines(run, now);
    enter(run, State::Running, ENGINE, now, &mut entries);
    entries
}

/// Asks an operation to give its locks to one of higher priority. It goes on by itself when they are free.
pub fn preempt(run: &mut Run, by: &str, now: Timestamp) -> Vec<Entry> {
    let mut entries = Vec::new();
    if run.state == State::Running {
        let message = format!("{by} has a higher priority and takes the locks; this goes on when they are free");
        let reason = Pause { reason: PauseReason::Preempted, step: None, message, by: by.to_owned(), since: now };
        pause(run, reason, now, &mut entries);
    } else if run.state == State::Paused {
        let body = json!({"ceded": by});
        entries.push(Entry { kind: EntryKind::Note, key: None, attempt: None, body, actor: by.to_owned(), at: now });
    }
    entries
}

/// Moves deadlines by the time of a pause: it does not count towards timeouts.
fn shift_deadlines(run: &mut Run, now: Timestamp) {
    let Some(since) = run.pause.as_ref().map(|pause| pause.since) else { return };
    let paused = now.duration_since(since);
    for target in run.targets.values_mut().filter(|target| target.state == TargetState::Intended) {
        target.deadline = target.deadline.and_then(|deadline| deadline.checked_add(paused).ok());
    }
    run.pause = None;
}

/// Continues after a pause. Locks may have been taken by others meanwhile.
fn go_on(run: &mut Run, actor: &str, now: Timestamp, entries: &mut Vec<Entry>) {
    shift_deadlines(run, now);
    run.pause = None;
    enter(run, State::AwaitingLocks, actor, now, entries);
}

fn cancel(run: &mut Run, actor: &str, now: Timestamp, entries: &mut Vec<Entry>) -> Result<(), ControlRefusal> {
    match run.state {
        State::Cancelling | State::Cancelled => Ok(()),
        state if state.is_terminal() => Err(refuse(run, Verb::Cancel, "it is over; `revert` takes it back")),
        _ if run.phase == Phase::Revert => {
            Err(refuse(run, Verb::Cancel, "it is being taken back; a revert is paused, not cancelled"))
        }
        _ => {
            enter(run, State::Cancelling, actor, now, entries);
            Ok(())
        }
    }
}

/// Returns the step that a verb is about: the one named, or the one that pauses the operation.
fn step_of(run: &Run, control: &Control) -> Result<String, ControlRefusal> {
    let verb = control.verb.as_str();
    let named = control.step.clone().or_else(|| run.pause.as_ref().and_then(|pause| pause.step.clone()));
    let id =
        named.ok_or_else(|| ControlRefusal::Invalid(format!("name the step to {verb}: none pauses the operation")))?;
    if run.plan.step(&id).is_none() {
        let ids: Vec<&str> = run.steps().iter().map(|step| step.id.as_str()).collect();
        return Err(ControlRefusal::Invalid(format!("the plan has no step {id}; its steps are {}", ids.join(", "))));
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

fn retry(run: &mut Run, control: &Control, now: Timestamp, entries: &mut Vec<Entry>) -> Result<(), ControlRefusal> {
    let paused_by_failure =
        matches!(run.pause.as_ref().map(|pause| pause.reason), Some(PauseReason::Failure | PauseReason::Indeterminate));
    let is_possible =
        matches!(run.state, State::Paused | State::Pausing) && paused_by_failure || run.state == State::Failed;
    if !is_possible {
        return Err(refuse(run, Verb::Retry, "only a failed step is retried"));
    }
    let is_lost = |state| {
        matches!(
            state,
            TargetState::Failed | TargetState::TimedOut | TargetState::Indeterminate | TargetState::Cancelled
        )
    };
    let steps = match &control.step {
        None if run.state == State::Failed => run.steps().iter().map(|step| step.id.clone()).collect(),
        _ => vec![step_of(run, control)?],
    };
    let mut keys = Vec::new();
    for step in &steps {
        keys.extend(targets_of(run, step, control, is_lost)?);
    }
    if keys.is_empty() {
        return Err(ControlRefusal::Invalid("no target of the step failed".to_owned()));
    }
    for key in keys {
        let target = run.target_mut(&key, now);
        // It is not certain that an Indeterminate write failed, so its key is used again.
        let raised = i32::from(target.state != TargetState::Indeterminate);
        target.attempt = if raised == 1 { 0 } else { target.attempt + 1 };
        (target.state, target.round) = (TargetState::Waiting, target.round + raised);
        (target.run_after, target.deadline, target.changed_at) = (None, None, now);
    }
    run.marks.failure = None;
    run.marks.revert_on_failure = false;
    go_on(run, &control.actor, now, entries);
    Ok(())
}

fn skip(run: &mut Run, control: &Control, now: Timestamp, entries: &mut Vec<Entry>) -> Result<(), ControlRefusal> {
    if !matches!(run.state, State::Paused | State::Pausing | State::AwaitingLocks | State::Running) {
        return Err(refuse(run, Verb::Skip, "nothing of it is skipped now"));
    }
    let step = step_of(run, control)?;
    // A target under way is skipped as well: the person says that its effect is there, or not needed.
    let keys =
        targets_of(run, &step, control, |state| !matches!(state, TargetState::Succeeded | TargetState::Skipped))?;
    let reason = control.reason.clone().unwrap_or_default();
    for key in keys {
        let target = run.target_mut(&key, now);
        (target.state, target.deadline, target.run_after, target.changed_at) = (TargetState::Skipped, None, None, now);
        target.message = format!("skipped by {}: {reason}", control.actor);
    }
    let waited_for_it = run.pause.as_ref().is_some_and(|pause| pause.step.as_deref() == Some(step.as_str()));
    if waited_for_it {
        go_on(run, &control.actor, now, entries);
    }
    Ok(())
}

fn confirm(run: &mut Run, control: &Control, now: Timestamp, entries: &mut Vec<Entry>) -> Result<(), ControlRefusal> {
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

fn force(run: &mut Run, control: &Control, now: Timestamp, entries: &mut Vec<Entry>) -> Result<(), ControlRefusal> {
    if run.state.is_terminal() {
        return Err(refuse(run, Verb::Force, "it is over"));
    }
    let step = step_of(run, control)?;
    run.marks.forced.insert(step.clone());
    let waited_for_it =
        run.state == State::Paused && run.pause.as_ref().is_some_and(|pause| pause.step.as_ref() == Some(&step));
    if waited_for_it {
        retry(run, control, now, entries)?;
    }
    Ok(())
}

fn revert(run: &mut Run, actor: &str, now: Timestamp, entries: &mut Vec<Entry>) -> Result<(), ControlRefusal> {
    if run.phase == Phase::Revert {
        return if run.state == State::Failed {
            Err(refuse(run, Verb::Revert, "its revert failed; use retry"))
        } else {
            Ok(())
        };
    }
    if run.plan.revert.is_empty() {
        return Err(refuse(run, Verb::Revert, "operations of this kind cannot be taken back"));
    }
    match run.state {
        State::Paused | State::Failed | State::Cancelled | State::Succeeded | State::SucceededWithExceptions => {
            run.phase = Phase::Revert;
            run.pause = None;
            enter(run, State::AwaitingLocks, actor, now, entries);
            Ok(())
        }
        State::Running | State::Pausing | State::Failing | State::Cancelling => {
            // What is under way ends first.
            run.marks.revert_on_failure = true;
            run.marks.failure = Some(format!("taken back by {actor}"));
            enter(run, State::Failing, actor, now, entries);
            Ok(())
        }
        State::AwaitingLocks | State::Pending | State::AwaitingApproval => {
            Err(refuse(run, Verb::Revert, "it has done nothing yet; use cancel"))
        }
        State::Reverted => Ok(()),
    }
}
