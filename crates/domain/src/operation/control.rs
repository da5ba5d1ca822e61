//! Applies what a person asks of an operation. Pure.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::json;

use super::advance::{advance, begin_revert, enter, pause};
use super::control_step::{confirm, force, retry, skip};
use super::entry::{Entry, EntryKind};
use super::run::{Pause, PauseReason, Phase, Run, State, TargetState};
use super::verb::{Control, ControlRefusal, Verb, go_on, refuse};

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
    // Nothing is under way in these states, so no owner has to let anything end.
    if changed.state == State::Cancelling
        && matches!(run.state, State::Pending | State::AwaitingApproval | State::Paused)
    {
        entries.extend(advance(&mut changed, &BTreeSet::new(), now));
    }
    *run = changed;
    Ok(entries)
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
            run.end_pause(now);
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
    if run.targets.values().all(|target| target.state == TargetState::Skipped) {
        return Err(refuse(run, Verb::Revert, "it has done nothing that could be taken back"));
    }
    match run.state {
        State::Paused | State::Failed | State::Cancelled | State::Succeeded | State::SucceededWithExceptions => {
            begin_revert(run, actor, now, entries);
            Ok(())
        }
        State::AwaitingLocks | State::Running | State::Pausing | State::Failing | State::Cancelling => {
            // What is under way ends first.
            run.marks.revert_on_failure = true;
            run.marks.failure = Some(format!("taken back by {actor}"));
            enter(run, State::Failing, actor, now, entries);
            Ok(())
        }
        State::Pending | State::AwaitingApproval => {
            Err(refuse(run, Verb::Revert, "it has done nothing yet; use cancel"))
        }
        State::Reverted => Ok(()),
    }
}
