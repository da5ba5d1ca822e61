//! Reports of attempts that the owner has not stored yet.

use std::collections::HashMap;

use domain::operation::{Entry, EntryKind, Key, Outcome, Run, TargetState, conclude};
use jiff::Timestamp;
use serde_json::json;
use store::StoreError;

use crate::attempt::Report;

/// Maximum length of a progress message, in bytes.
const MESSAGE_MAX: usize = 2_048;

/// Reports that the owner has received and not stored yet.
#[derive(Default)]
pub(crate) struct News {
    pub(crate) outcomes: Vec<(Key, (i32, i32), Outcome)>,
    pub(crate) checks: Vec<Entry>,
    pub(crate) progress: HashMap<Key, String>,
}

impl News {
    pub(crate) fn take(&mut self, report: Report) -> Result<(), StoreError> {
        match report {
            Report::Progress(key, message) => {
                drop(self.progress.insert(key, vocabulary::shorten(&message, MESSAGE_MAX)))
            }
            Report::Ended(key, number, outcome) => self.outcomes.push((key, number, outcome)),
            Report::Checked { key, check, verdict, message } => self.checks.push(Entry {
                kind: EntryKind::Check,
                key: Some(key),
                attempt: None,
                body: json!({"check": check, "verdict": verdict.as_str(), "message": message}),
                actor: "engine".to_owned(),
                at: Timestamp::now(),
            }),
            // The owner looks again: it may have waited for the end of this act.
            Report::Acted => {}
            Report::Fenced => return Err(StoreError::Fenced { lease: "operation".to_owned(), epoch: 0 }),
        }
        Ok(())
    }

    pub(crate) fn is_urgent(&self) -> bool {
        !self.outcomes.is_empty() || !self.checks.is_empty()
    }

    /// Applies everything to a run, and returns the journal entries. Progress is left out before `with_progress`.
    pub(crate) fn apply(&self, run: &mut Run, with_progress: bool, now: Timestamp) -> Vec<Entry> {
        let mut entries = self.checks.clone();
        for (key, number, outcome) in &self.outcomes {
            entries.extend(conclude(run, key, *number, outcome.clone(), now));
        }
        if with_progress || !entries.is_empty() {
            note_progress(run, &self.progress, now);
        }
        entries
    }
}

/// Stores progress messages of targets that are still under way.
fn note_progress(run: &mut Run, progress: &HashMap<Key, String>, now: Timestamp) {
    for (key, message) in progress {
        let Some(target) = run.targets.get_mut(key).filter(|target| target.state == TargetState::Intended) else {
            continue;
        };
        if target.message != *message {
            message.clone_into(&mut target.message);
            target.changed_at = now;
        }
    }
}
