//! Operations between their rows and the pure machine.

use std::collections::BTreeMap;

use domain::operation::{Entry, Key, LockRequest, Phase, Run, State, TargetRun, TargetState};
use serde_json::Value;
use store::{
    JournalEntry, LockChange, LockRow, OperationChange, OperationHeader, OperationRow, Store, StoreError, TargetRow,
};
use vocabulary::OperationId;

/// Why an operation cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It does not exist.
    #[error("operation {0} does not exist")]
    NotFound(OperationId),
    /// Its rows cannot be read by this version.
    #[error("operation {id} cannot be read by this version: {what}")]
    Unreadable {
        /// The operation.
        id: OperationId,
        /// Field and cause.
        what: String,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Reads an operation with its progress.
///
/// # Errors
/// [`LoadError`] when it does not exist, or this version cannot read it.
pub async fn load(store: &Store, id: OperationId) -> Result<(OperationRow, Run), LoadError> {
    loop {
        let row = store.operation_get(id).await?.ok_or(LoadError::NotFound(id))?;
        let targets = store.operation_targets(id).await?;
        // The two reads are not one: the version shows whether a change came between.
        let again = store.operation_get(id).await?.ok_or(LoadError::NotFound(id))?;
        if again.version == row.version {
            let run = run_of(&row, targets)?;
            return Ok((row, run));
        }
    }
}

fn run_of(row: &OperationRow, targets: Vec<TargetRow>) -> Result<Run, LoadError> {
    let unreadable = |what: String| LoadError::Unreadable { id: row.id, what };
    let parse = |field: &str, error: serde_json::Error| unreadable(format!("{field}: {error}"));
    let mut known = BTreeMap::new();
    for target in targets {
        let state =
            TargetState::parse(&target.state).ok_or_else(|| unreadable(format!("target state {}", target.state)))?;
        let key = Key { step: target.step, target: target.target };
        let run = TargetRun {
            state,
            round: target.round,
            attempt: target.attempt,
            run_after: target.run_after,
            deadline: target.deadline,
            message: target.message,
            changed_at: target.changed_at,
        };
        known.insert(key, run);
    }
    Ok(Run {
        id: row.id,
        kind: row.kind.clone(),
        actor: row.actor.clone(),
        plan: serde_json::from_value(row.plan.clone()).map_err(|error| parse("plan", error))?,
        state: State::parse(&row.state).ok_or_else(|| unreadable(format!("state {}", row.state)))?,
        phase: serde_json::from_value(Value::String(row.phase.clone())).map_err(|error| parse("phase", error))?,
        pause: row.pause.clone().map(serde_json::from_value).transpose().map_err(|error| parse("pause", error))?,
        marks: serde_json::from_value(row.marks.clone()).map_err(|error| parse("marks", error))?,
        targets: known,
        version: row.version,
    })
}

/// Returns the change that brings the stored run `before` to `after`.
pub(crate) fn change(before: &Run, after: &Run, entries: Vec<Entry>, locks: LockChange) -> OperationChange {
    let changed = after.targets.iter().filter(|(key, target)| before.targets.get(key) != Some(target));
    OperationChange {
        header: header(after),
        targets: changed.map(|(key, target)| target_row(key, target)).collect(),
        entries: entries.into_iter().map(journal_entry).collect(),
        locks,
        key: None,
    }
}

fn header(run: &Run) -> OperationHeader {
    let phase = match run.phase {
        Phase::Forward => "Forward",
        Phase::Revert => "Revert",
    };
    OperationHeader {
        state: run.state.as_str(),
        is_over: run.state.is_terminal(),
        phase,
        pause: run.pause.as_ref().map(|pause| serde_json::to_value(pause).expect("a pause is plain data")),
        marks: serde_json::to_value(&run.marks).expect("marks are plain data"),
    }
}

fn target_row(key: &Key, target: &TargetRun) -> TargetRow {
    TargetRow {
        step: key.step.clone(),
        target: key.target.clone(),
        state: target.state.as_str().to_owned(),
        round: target.round,
        attempt: target.attempt,
        run_after: target.run_after,
        deadline: target.deadline,
        message: target.message.clone(),
        changed_at: target.changed_at,
    }
}

/// Returns an entry as it is stored.
pub(crate) fn journal_entry(entry: Entry) -> JournalEntry {
    JournalEntry {
        entry: entry.kind.as_str(),
        step: entry.key.as_ref().map(|key| key.step.clone()),
        target: entry.key.map(|key| key.target),
        round: entry.attempt.map(|(round, _)| round),
        attempt: entry.attempt.map(|(_, attempt)| attempt),
        body: entry.body.to_string(),
        actor: entry.actor,
        at: entry.at,
    }
}

/// Returns locks as they are stored.
pub(crate) fn lock_rows(locks: &[LockRequest]) -> Vec<LockRow> {
    let mode = |lock: &LockRequest| match lock.mode {
        domain::operation::LockMode::Exclusive => "Exclusive",
        domain::operation::LockMode::Shared => "Shared",
    };
    locks.iter().map(|lock| LockRow { key: lock.key.to_string(), mode: mode(lock).to_owned() }).collect()
}
