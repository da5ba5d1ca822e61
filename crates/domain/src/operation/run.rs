//! The progress of an operation.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use vocabulary::OperationId;

use super::plan::{Plan, Step};

/// State of an operation; the table is in the module's documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the module documents each state")]
pub enum State {
    Pending,
    AwaitingApproval,
    AwaitingLocks,
    Running,
    Pausing,
    Paused,
    Cancelling,
    Failing,
    Succeeded,
    SucceededWithExceptions,
    Failed,
    Cancelled,
    Reverted,
}

/// All states with their text form.
const STATES: [(State, &str); 13] = [
    (State::Pending, "Pending"),
    (State::AwaitingApproval, "AwaitingApproval"),
    (State::AwaitingLocks, "AwaitingLocks"),
    (State::Running, "Running"),
    (State::Pausing, "Pausing"),
    (State::Paused, "Paused"),
    (State::Cancelling, "Cancelling"),
    (State::Failing, "Failing"),
    (State::Succeeded, "Succeeded"),
    (State::SucceededWithExceptions, "SucceededWithExceptions"),
    (State::Failed, "Failed"),
    (State::Cancelled, "Cancelled"),
    (State::Reverted, "Reverted"),
];

impl State {
    /// Returns the text form, as stored and shown.
    pub fn as_str(self) -> &'static str {
        STATES.iter().find(|(state, _)| *state == self).map_or("", |(_, text)| text)
    }

    /// Parses the text form.
    pub fn parse(text: &str) -> Option<Self> {
        STATES.iter().find(|(_, known)| *known == text).map(|(state, _)| *state)
    }

    /// Returns whether the operation is over.
    pub const fn is_terminal(self) -> bool {
        matches!(
            self,
            Self::Succeeded | Self::SucceededWithExceptions | Self::Failed | Self::Cancelled | Self::Reverted
        )
    }

    /// Returns whether a process must own the operation, because it does something or is about to.
    pub const fn is_active(self) -> bool {
        matches!(self, Self::AwaitingLocks | Self::Running | Self::Pausing | Self::Cancelling | Self::Failing)
    }
}

/// Direction of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// The steps that carry the operation out.
    Forward,
    /// The steps that take it back.
    Revert,
}

/// Why an operation pauses or waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pause {
    /// The cause.
    pub reason: PauseReason,
    /// Step that caused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Present state and what ends the pause, for people.
    pub message: String,
    /// Person, operation or program that caused it.
    pub by: String,
    /// When it began.
    pub since: Timestamp,
}

/// Cause of a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PauseReason {
    /// A person asked for it.
    Operator,
    /// A step failed.
    Failure,
    /// It is not known whether a write took effect.
    Indeterminate,
    /// The next step waits for `confirm`.
    Confirm,
    /// An operation of higher priority took the locks.
    Preempted,
    /// Other operations hold the locks.
    Locks,
}

/// What persons said about an operation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Marks {
    /// Steps that may begin although they wait for `confirm`.
    pub confirmed: BTreeSet<String>,
    /// Steps whose checks need not pass.
    pub forced: BTreeSet<String>,
    /// Steps of which a person left targets out.
    pub skipped: BTreeSet<String>,
    /// Persons who approved.
    pub approvals: BTreeSet<String>,
    /// The operation takes back what it did once it has failed.
    pub revert_on_failure: bool,
    /// Why the operation failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// State of one target of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TargetState {
    /// Not begun, or to be begun again.
    Waiting,
    /// The intent is stored; the effect may be there or not.
    Intended,
    /// The effect was observed.
    Succeeded,
    /// The last attempt failed for good.
    Failed,
    /// The effect was not observed in time.
    TimedOut,
    /// A person or a condition left it out.
    Skipped,
    /// The operation was cancelled before the effect was observed.
    Cancelled,
    /// It is not known whether the write took effect, and it must not be repeated.
    Indeterminate,
}

/// All target states with their text form.
const TARGET_STATES: [(TargetState, &str); 8] = [
    (TargetState::Waiting, "Waiting"),
    (TargetState::Intended, "Intended"),
    (TargetState::Succeeded, "Succeeded"),
    (TargetState::Failed, "Failed"),
    (TargetState::TimedOut, "TimedOut"),
    (TargetState::Skipped, "Skipped"),
    (TargetState::Cancelled, "Cancelled"),
    (TargetState::Indeterminate, "Indeterminate"),
];

impl TargetState {
    /// Returns the text form, as stored and shown.
    pub fn as_str(self) -> &'static str {
        TARGET_STATES.iter().find(|(state, _)| *state == self).map_or("", |(_, text)| text)
    }

    /// Parses the text form.
    pub fn parse(text: &str) -> Option<Self> {
        TARGET_STATES.iter().find(|(_, known)| *known == text).map(|(state, _)| *state)
    }

    /// Returns whether the target was begun and did not succeed.
    pub(super) const fn is_lost(self) -> bool {
        matches!(self, Self::Failed | Self::TimedOut | Self::Cancelled)
    }

    /// Returns whether a person decides how the target goes on.
    pub(super) const fn needs_person(self) -> bool {
        self.is_lost() || matches!(self, Self::Indeterminate)
    }

    /// Returns whether the target needs no more work.
    pub(super) const fn is_settled(self) -> bool {
        !matches!(self, Self::Waiting | Self::Intended)
    }
}

/// A step and one of its targets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Id of the step.
    pub step: String,
    /// The target.
    pub target: String,
}

/// Progress of one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetRun {
    /// State of the target.
    pub state: TargetState,
    /// Round; part of the idempotency key.
    pub round: i32,
    /// Number of automatic retries in this round.
    pub attempt: i32,
    /// Time before which no retry begins.
    pub run_after: Option<Timestamp>,
    /// Time at which an attempt under way times out.
    pub deadline: Option<Timestamp>,
    /// Progress or result, for people.
    pub message: String,
    /// When the state or the message changed.
    pub changed_at: Timestamp,
}

/// An operation with its progress.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Identity.
    pub id: OperationId,
    /// Name of the kind.
    pub kind: String,
    /// Person or machine identity that created the operation.
    pub actor: String,
    /// The plan.
    pub plan: Plan,
    /// State of the operation.
    pub state: State,
    /// Direction.
    pub phase: Phase,
    /// Why it pauses or waits.
    pub pause: Option<Pause>,
    /// What persons said.
    pub marks: Marks,
    /// Targets that were begun or concluded. A target that is missing waits for its turn.
    pub targets: BTreeMap<Key, TargetRun>,
    /// Version of the stored rows that this run was read from.
    pub version: i64,
}

impl Run {
    /// Returns the steps of the present phase.
    pub fn steps(&self) -> &[Step] {
        match self.phase {
            Phase::Forward => &self.plan.forward,
            Phase::Revert => &self.plan.revert,
        }
    }

    /// Returns the state of a target.
    pub fn target_state(&self, step: &str, target: &str) -> TargetState {
        let key = Key { step: step.to_owned(), target: target.to_owned() };
        self.targets.get(&key).map_or(TargetState::Waiting, |run| run.state)
    }

    /// Returns the targets whose intent is stored and whose effect was not observed, in the present phase.
    pub fn intended(&self) -> impl Iterator<Item = (&Key, &TargetRun)> {
        self.targets.iter().filter(|(key, run)| {
            run.state == TargetState::Intended && self.steps().iter().any(|step| step.id == key.step)
        })
    }

    /// Ends a pause. Its time does not count towards the timeouts of targets under way.
    pub(super) fn end_pause(&mut self, now: Timestamp) {
        let Some(pause) = self.pause.take() else { return };
        let paused = now.duration_since(pause.since);
        for target in self.targets.values_mut().filter(|target| target.state == TargetState::Intended) {
            target.deadline = target.deadline.and_then(|deadline| deadline.checked_add(paused).ok());
        }
    }

    pub(super) fn target_mut(&mut self, key: &Key, now: Timestamp) -> &mut TargetRun {
        self.targets.entry(key.clone()).or_insert_with(|| TargetRun {
            state: TargetState::Waiting,
            round: 0,
            attempt: 0,
            run_after: None,
            deadline: None,
            message: String::new(),
            changed_at: now,
        })
    }
}
