//! Journal entries, as the machine makes them.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::run::{Key, Run, State};

/// Kind of a journal entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// The operation was created.
    Created,
    /// An attempt is about to act.
    Intent,
    /// An attempt ended.
    Outcome,
    /// The operation changed its state.
    State,
    /// A person or program used a verb.
    Control,
    /// A check was evaluated.
    Check,
    /// Something else worth knowing.
    Note,
}

impl EntryKind {
    /// Returns the text form, as stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "Created",
            Self::Intent => "Intent",
            Self::Outcome => "Outcome",
            Self::State => "State",
            Self::Control => "Control",
            Self::Check => "Check",
            Self::Note => "Note",
        }
    }
}

/// An entry to be appended to the journal of an operation.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Kind of the entry.
    pub kind: EntryKind,
    /// Step and target that it is about.
    pub key: Option<Key>,
    /// Round and number of the attempt.
    pub attempt: Option<(i32, i32)>,
    /// Details.
    pub body: Value,
    /// Person, operation or program that caused it.
    pub actor: String,
    /// When it happened, by the clock of the program.
    pub at: Timestamp,
}

/// Name under which the engine itself writes entries.
pub(super) const ENGINE: &str = "engine";

impl Entry {
    pub(super) fn of_target(kind: EntryKind, run: &Run, key: &Key, body: Value, at: Timestamp) -> Self {
        let attempt = run.targets.get(key).map(|target| (target.round, target.attempt));
        Self { kind, key: Some(key.clone()), attempt, body, actor: ENGINE.to_owned(), at }
    }

    pub(super) fn of_state(from: State, run: &Run, actor: &str, at: Timestamp) -> Self {
        let body = json!({
            "from": from.as_str(),
            "to": run.state.as_str(),
            "phase": run.phase,
            "pause": run.pause,
        });
        Self { kind: EntryKind::State, key: None, attempt: None, body, actor: actor.to_owned(), at }
    }
}
