//! Applies the result of an attempt to a run. Pure.

use jiff::Timestamp;
use serde_json::json;

use super::advance::{backoff, settle};
use super::entry::{Entry, EntryKind};
use super::run::{Key, Run, TargetRun, TargetState};

/// Result of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The effect was observed.
    Succeeded {
        /// Result, for people.
        message: String,
    },
    /// The attempt certainly failed.
    Failed {
        /// Cause and remedy.
        message: String,
        /// Another attempt may succeed.
        is_retryable: bool,
    },
    /// It is not known whether the write took effect, and it must not be repeated.
    Indeterminate {
        /// The last state that was seen, for people.
        message: String,
    },
}

/// Applies the result of an attempt, which has a round and a number, and returns the journal entries of the changes.
///
/// A result of an attempt that is no longer under way is dropped: a person or a timeout decided meanwhile.
pub fn conclude(run: &mut Run, key: &Key, number: (i32, i32), outcome: Outcome, now: Timestamp) -> Vec<Entry> {
    let mut entries = Vec::new();
    let is_under_way =
        |target: &&TargetRun| target.state == TargetState::Intended && (target.round, target.attempt) == number;
    let Some(target) = run.targets.get(key).filter(is_under_way).cloned() else {
        return entries;
    };
    match outcome {
        Outcome::Succeeded { message } => settle(run, key, TargetState::Succeeded, &message, now, &mut entries),
        Outcome::Indeterminate { message } => {
            settle(run, key, TargetState::Indeterminate, &message, now, &mut entries);
        }
        Outcome::Failed { message, is_retryable } => {
            let retry = run.plan.step(&key.step).filter(|step| is_retryable && target.attempt < step.retry.max);
            let Some(pause) = retry.map(|step| backoff(step, target.attempt)) else {
                settle(run, key, TargetState::Failed, &message, now, &mut entries);
                return entries;
            };
            let body = json!({"state": "Failed", "message": message, "retryAfterSeconds": pause.as_secs()});
            entries.push(Entry::of_target(EntryKind::Outcome, run, key, body, now));
            let again = run.target_mut(key, now);
            (again.state, again.attempt, again.deadline) = (TargetState::Waiting, target.attempt + 1, None);
            (again.run_after, again.message, again.changed_at) = (Some(now + pause), message, now);
        }
    }
    entries
}
