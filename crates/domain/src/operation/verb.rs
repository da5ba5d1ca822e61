//! Verbs: what a person may ask of an operation, and why a verb is refused.

use jiff::Timestamp;

use super::advance::enter;
use super::entry::Entry;
use super::run::{Run, State};

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
    /// Target that it is about. Otherwise all that failed; for `skip`, all that did not succeed if none failed.
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

pub(super) fn refuse(run: &Run, verb: Verb, possible: &str) -> ControlRefusal {
    let waits = run.pause.as_ref().map(|pause| format!(" ({})", pause.message)).unwrap_or_default();
    ControlRefusal::State {
        verb: verb.as_str(),
        why: format!("the operation is {}{waits}; {possible}", run.state.as_str()),
    }
}

/// Continues after a pause. Locks may have been taken by others meanwhile.
pub(super) fn go_on(run: &mut Run, actor: &str, now: Timestamp, entries: &mut Vec<Entry>) {
    run.end_pause(now);
    enter(run, State::AwaitingLocks, actor, now, entries);
}
