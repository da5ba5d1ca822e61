//! Takes and gives back the locks of an operation. Pure.

use jiff::Timestamp;
use serde_json::json;

use super::advance::{enter, pause};
use super::entry::{ENGINE, Entry, EntryKind};
use super::run::{Pause, PauseReason, Run, State};

/// Begins or continues an operation that has its locks.
pub fn begin(run: &mut Run, now: Timestamp) -> Vec<Entry> {
    let mut entries = Vec::new();
    run.end_pause(now);
    enter(run, State::Running, ENGINE, now, &mut entries);
    entries
}

/// Asks an operation to give its locks to one of higher priority. It goes on by itself when they are free.
///
/// An operation that waits for a person does nothing, so it cedes at once and stays as it is. So does one that was about
/// to begin.
pub fn preempt(run: &mut Run, by: &str, now: Timestamp) -> Vec<Entry> {
    let mut entries = Vec::new();
    let message = format!("{by} has a higher priority and takes the locks; this goes on when they are free");
    let reason = Pause { reason: PauseReason::Preempted, step: None, message, by: by.to_owned(), since: now };
    if run.state == State::Running {
        pause(run, reason, now, &mut entries);
    } else if cedes_at_once(run.state) || is_about_to_begin(run) {
        if run.state == State::AwaitingLocks {
            run.pause = Some(reason);
        }
        let body = json!({"ceded": by});
        entries.push(Entry { kind: EntryKind::Note, key: None, attempt: None, body, actor: by.to_owned(), at: now });
    }
    entries
}

/// Returns whether an operation in this state gives its locks back as soon as it is asked: it waits for a person.
pub const fn cedes_at_once(state: State) -> bool {
    matches!(state, State::Paused | State::Pending | State::AwaitingApproval)
}

/// Returns whether the operation has nothing under way and was not told to wait.
fn is_about_to_begin(run: &Run) -> bool {
    run.state == State::AwaitingLocks && run.pause.is_none() && run.intended().next().is_none()
}
