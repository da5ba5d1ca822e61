//! Brings a run to the next point at which it waits: begins targets, times them out, ends phases. Pure.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::entry::{ENGINE, Entry, EntryKind};
use super::plan::{OnFailure, Step, When};
use super::run::{Key, Pause, PauseReason, Phase, Run, State, TargetState};

/// Maximum number of intents in one commit.
const INTENTS_MAX: usize = 256;
/// Longest pause between two retries.
const BACKOFF_MAX: SignedDuration = SignedDuration::from_secs(60);

/// Minimum time that a new owner has to observe a target that is under way.
const OBSERVATION_MIN: SignedDuration = SignedDuration::from_secs(10);

/// Outcome of a step as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StepOutcome {
    /// Some target waits or is under way.
    Open,
    /// Enough targets succeeded.
    Succeeded,
    /// Every target was skipped because the step's condition did not hold.
    Skipped,
    /// Too few targets succeeded, and the plan permits going on.
    Tolerated,
    /// Too few targets succeeded.
    Failed(OnFailure),
}

/// Advances the run as far as possible without an observation, and returns the journal entries of the changes.
///
/// `acting` are the targets whose write is under way at this moment. Nothing is concluded for them.
pub fn advance(run: &mut Run, acting: &BTreeSet<Key>, now: Timestamp) -> Vec<Entry> {
    let mut entries = Vec::new();
    // Each pass leaves a state or changes nothing. The bound protects against a defect here.
    for _ in 0..8 {
        let before = run.state;
        match run.state {
            State::Running => advance_steps(run, acting, now, &mut entries),
            State::Pausing if acting.is_empty() => enter(run, after_pausing(run), ENGINE, now, &mut entries),
            State::Cancelling if acting.is_empty() => {
                conclude_open(run, now, &mut entries);
                enter(run, State::Cancelled, ENGINE, now, &mut entries);
            }
            State::Failing if acting.is_empty() => settle_failure(run, now, &mut entries),
            _ => {}
        }
        if run.state == before {
            break;
        }
    }
    entries
}

/// Gives a new owner time to observe what is under way.
///
/// Without this, the first owner after an outage would time out targets whose effect took place long ago.
pub fn take_over(run: &mut Run, now: Timestamp) {
    let least = now + OBSERVATION_MIN;
    for target in run.targets.values_mut().filter(|target| target.state == TargetState::Intended) {
        target.deadline = target.deadline.map(|deadline| deadline.max(least));
    }
}

/// Returns when the run must be advanced again although nothing is observed: at a deadline or the end of a backoff.
///
/// A run that was advanced at `now` has handled all earlier times: a target past its deadline acts, and its end wakes
/// the owner. A target past its backoff waits for a free place.
pub fn next_wake(run: &Run, now: Timestamp) -> Option<Timestamp> {
    if run.state != State::Running {
        return None;
    }
    let times = run.targets.values().filter_map(|target| match target.state {
        TargetState::Intended => target.deadline,
        TargetState::Waiting => target.run_after,
        _ => None,
    });
    times.filter(|time| *time > now).min()
}

/// Changes the state of the operation and notes the change.
pub(super) fn enter(run: &mut Run, state: State, actor: &str, now: Timestamp, entries: &mut Vec<Entry>) {
    let from = run.state;
    if from == state {
        return;
    }
    run.state = state;
    if !matches!(state, State::Pausing | State::Paused | State::AwaitingLocks) {
        run.pause = None;
    }
    entries.push(Entry::of_state(from, run, actor, now));
}

/// Begins to pause the operation for a reason.
pub(super) fn pause(run: &mut Run, pause: Pause, now: Timestamp, entries: &mut Vec<Entry>) {
    let actor = pause.by.clone();
    // The operation may have waited for its locks until now.
    run.end_pause(now);
    run.pause = Some(pause);
    enter(run, State::Pausing, &actor, now, entries);
}

/// A preempted operation waits for its locks and goes on by itself.
fn after_pausing(run: &Run) -> State {
    let preempted = run.pause.as_ref().is_some_and(|pause| pause.reason == PauseReason::Preempted);
    if preempted { State::AwaitingLocks } else { State::Paused }
}

fn settle_failure(run: &mut Run, now: Timestamp, entries: &mut Vec<Entry>) {
    conclude_open(run, now, entries);
    if run.marks.revert_on_failure && run.phase == Phase::Forward && !run.plan.revert.is_empty() {
        begin_revert(run, ENGINE, now, entries);
    } else {
        enter(run, State::Failed, ENGINE, now, entries);
    }
}

/// Turns an operation round. It takes its locks again: it may have ceded them.
pub(super) fn begin_revert(run: &mut Run, actor: &str, now: Timestamp, entries: &mut Vec<Entry>) {
    conclude_open(run, now, entries);
    run.phase = Phase::Revert;
    run.pause = None;
    enter(run, State::AwaitingLocks, actor, now, entries);
}

/// Concludes targets whose effect was not observed when the phase ends early.
fn conclude_open(run: &mut Run, now: Timestamp, entries: &mut Vec<Entry>) {
    let open: Vec<Key> = run.intended().map(|(key, _)| key.clone()).collect();
    for key in open {
        let message = "the operation ended before the effect was observed";
        settle(run, &key, TargetState::Cancelled, message, now, entries);
    }
}

/// Stores the result of a target and notes it.
pub(super) fn settle(
    run: &mut Run,
    key: &Key,
    state: TargetState,
    message: &str,
    now: Timestamp,
    entries: &mut Vec<Entry>,
) {
    let target = run.target_mut(key, now);
    (target.state, target.deadline, target.run_after, target.changed_at) = (state, None, None, now);
    message.clone_into(&mut target.message);
    let body = json!({"state": state.as_str(), "message": message});
    entries.push(Entry::of_target(EntryKind::Outcome, run, key, body, now));
}

fn advance_steps(run: &mut Run, acting: &BTreeSet<Key>, now: Timestamp, entries: &mut Vec<Entry>) {
    time_out(run, acting, now, entries);
    let steps = run.steps().to_vec();
    let mut begun = 0;
    for step in &steps {
        match outcome(run, step) {
            StepOutcome::Failed(reaction) => return fail(run, step, reaction, now, entries),
            StepOutcome::Open => {}
            _ => continue,
        }
        if has_indeterminate(run, step) {
            let message = format!(
                "it is not known whether step {} took effect; look at its target and use `skip` where it did, or `retry`",
                step.id
            );
            return pause(run, paused_by(step, PauseReason::Indeterminate, message, now), now, entries);
        }
        if !step.needs.iter().all(|need| has_passed(run, &steps, need)) {
            continue;
        }
        match step.when.as_ref().map(|when| holds(run, &steps, when)) {
            // The other step is still open.
            Some(None) => continue,
            Some(Some(false)) => {
                let open = |target: &&String| !run.target_state(&step.id, target).is_settled();
                let open: Vec<&String> = step.targets.iter().filter(open).collect();
                for target in open {
                    let key = Key { step: step.id.clone(), target: target.clone() };
                    settle(run, &key, TargetState::Skipped, "its condition does not hold", now, entries);
                }
                continue;
            }
            Some(Some(true)) | None => {}
        }
        if step.confirm && !run.marks.confirmed.contains(&step.id) {
            if run.intended().next().is_some() {
                continue;
            }
            let message = format!("step {} waits: {}; `confirm` goes on", step.id, step.title);
            return pause(run, paused_by(step, PauseReason::Confirm, message, now), now, entries);
        }
        begin_targets(run, step, now, &mut begun, entries);
    }
    if steps.iter().all(|step| outcome(run, step) != StepOutcome::Open) {
        finish(run, &steps, now, entries);
    }
}

fn paused_by(step: &Step, reason: PauseReason, message: String, now: Timestamp) -> Pause {
    Pause { reason, step: Some(step.id.clone()), message, by: ENGINE.to_owned(), since: now }
}

/// Stores intents for targets of a step whose turn has come.
fn begin_targets(run: &mut Run, step: &Step, now: Timestamp, begun: &mut usize, entries: &mut Vec<Entry>) {
    let under_way =
        step.targets.iter().filter(|target| run.target_state(&step.id, target) == TargetState::Intended).count();
    let mut free = step.max_parallel.saturating_sub(under_way);
    for target in &step.targets {
        if free == 0 || *begun >= INTENTS_MAX {
            return;
        }
        let key = Key { step: step.id.clone(), target: target.clone() };
        let waits = run.targets.get(&key).is_none_or(|known| {
            known.state == TargetState::Waiting && known.run_after.is_none_or(|after| after <= now)
        });
        if !waits {
            continue;
        }
        let known = run.target_mut(&key, now);
        (known.state, known.run_after, known.changed_at) = (TargetState::Intended, None, now);
        known.deadline = Some(now + SignedDuration::from_secs(i64::from(step.timeout_seconds)));
        known.message.clear();
        let (round, body) = (known.round, json!({"act": step.act, "title": step.title}));
        let mut entry = Entry::of_target(EntryKind::Intent, run, &key, body, now);
        entry.body["key"] = json!(run.id.effect_key(&key.step, &key.target, round));
        entries.push(entry);
        (free, *begun) = (free - 1, *begun + 1);
    }
}

fn time_out(run: &mut Run, acting: &BTreeSet<Key>, now: Timestamp, entries: &mut Vec<Entry>) {
    let late: Vec<(Key, String)> = run
        .intended()
        .filter(|(key, target)| !acting.contains(key) && target.deadline.is_some_and(|deadline| deadline <= now))
        .map(|(key, target)| (key.clone(), target.message.clone()))
        .collect();
    for (key, last) in late {
        let message = if last.is_empty() { "not observed in time".to_owned() } else { format!("not in time: {last}") };
        settle(run, &key, TargetState::TimedOut, &message, now, entries);
    }
}

fn has_indeterminate(run: &Run, step: &Step) -> bool {
    step.targets.iter().any(|target| run.target_state(&step.id, target) == TargetState::Indeterminate)
}

fn has_passed(run: &Run, steps: &[Step], id: &str) -> bool {
    steps.iter().find(|step| step.id == id).is_some_and(|step| {
        matches!(outcome(run, step), StepOutcome::Succeeded | StepOutcome::Skipped | StepOutcome::Tolerated)
    })
}

/// Returns whether a condition holds; `None` while the other step is open.
fn holds(run: &Run, steps: &[Step], when: &When) -> Option<bool> {
    let outcome = steps.iter().find(|step| step.id == when.step()).map(|step| outcome(run, step))?;
    match (outcome, when) {
        (StepOutcome::Open, _) => None,
        (StepOutcome::Succeeded, When::Succeeded(_)) | (StepOutcome::Tolerated, When::Failed(_)) => Some(true),
        _ => Some(false),
    }
}

fn outcome(run: &Run, step: &Step) -> StepOutcome {
    let states: Vec<TargetState> = step.targets.iter().map(|target| run.target_state(&step.id, target)).collect();
    let count = |wanted: TargetState| states.iter().filter(|state| **state == wanted).count();
    let (failed, timed_out) = (count(TargetState::Failed), count(TargetState::TimedOut));
    let (succeeded, skipped) = (count(TargetState::Succeeded), count(TargetState::Skipped));
    // A target that failed for good decides at once: others of the step are not begun for nothing.
    let lost = failed + timed_out + count(TargetState::Cancelled);
    let can_pass = step.require.is_met(states.len() - lost, states.len());
    let reaction = if failed > 0 { step.on_failure } else { step.on_timeout };
    if !can_pass && reaction != OnFailure::Continue {
        return StepOutcome::Failed(reaction);
    }
    if states.iter().any(|state| !state.is_settled() || *state == TargetState::Indeterminate) {
        return StepOutcome::Open;
    }
    if skipped == states.len() {
        StepOutcome::Skipped
    } else if step.require.is_met(succeeded + skipped, states.len()) {
        StepOutcome::Succeeded
    } else {
        StepOutcome::Tolerated
    }
}

fn fail(run: &mut Run, step: &Step, reaction: OnFailure, now: Timestamp, entries: &mut Vec<Entry>) {
    let worst = step.targets.iter().find_map(|target| {
        let key = Key { step: step.id.clone(), target: target.clone() };
        let known = run.targets.get(&key)?;
        known.state.is_lost().then(|| format!("step {}, target {target}: {}", step.id, known.message))
    });
    let failure = worst.unwrap_or_else(|| format!("step {} failed", step.id));
    if reaction == OnFailure::Pause {
        let message = format!("{failure}; `retry`, `skip`, `cancel` or `revert`");
        return pause(run, paused_by(step, PauseReason::Failure, message, now), now, entries);
    }
    run.marks.failure = Some(failure);
    run.marks.revert_on_failure |= reaction == OnFailure::Revert;
    enter(run, State::Failing, ENGINE, now, entries);
}

fn finish(run: &mut Run, steps: &[Step], now: Timestamp, entries: &mut Vec<Entry>) {
    if run.phase == Phase::Revert {
        return enter(run, State::Reverted, ENGINE, now, entries);
    }
    // What a condition skipped is no exception; what a person skipped or forced, and what failed, is.
    let has_exception = |step: &Step| {
        let is_lost = |target: &String| run.target_state(&step.id, target).is_lost();
        let is_overridden = run.marks.skipped.contains(&step.id) || run.marks.forced.contains(&step.id);
        is_overridden || step.targets.iter().any(is_lost)
    };
    let state = if steps.iter().any(has_exception) { State::SucceededWithExceptions } else { State::Succeeded };
    enter(run, state, ENGINE, now, entries);
}

/// Returns the pause before the next automatic retry.
pub(super) fn backoff(step: &Step, attempt: i32) -> SignedDuration {
    let base = SignedDuration::from_secs(i64::from(step.retry.backoff_seconds));
    let factor = 1_i32 << attempt.clamp(0, 10);
    base.checked_mul(factor).unwrap_or(BACKOFF_MAX).min(BACKOFF_MAX)
}
