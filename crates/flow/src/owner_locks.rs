//! Takes the locks of an operation, and asks operations of lower priority to cede theirs.

use domain::operation::{Pause, PauseReason, Run, begin, cedes_at_once, preempt};
use jiff::Timestamp;
use store::{Hint, LockChange, LockHolder, OperationCommitted};
use vocabulary::OperationId;

use crate::control::locks_of;
use crate::owner::Owner;
use crate::stored::{LoadError, change, load};

impl Owner {
    /// Takes the locks and begins, or says which operation holds them. Returns whether anything changed.
    ///
    /// Operations of lower priority are asked to give theirs back.
    pub(crate) async fn take_locks(&self, run: &mut Run) -> Result<bool, LoadError> {
        let now = Timestamp::now();
        let mut next = run.clone();
        let entries = begin(&mut next, now);
        let held = match self.commit(run, &next, entries, LockChange::Take).await? {
            OperationCommitted::Written(version) => {
                next.version = version;
                *run = next;
                return Ok(true);
            }
            OperationCommitted::Outdated => {
                *run = load(&self.store, run.id).await?.1;
                return Ok(true);
            }
            OperationCommitted::Locked(held) => held,
        };
        let row = self.store.operation_get(run.id).await?.ok_or(LoadError::NotFound(run.id))?;
        for holder in held.iter().filter(|holder| holder.priority < row.priority) {
            self.ask_to_cede(holder, &row.kind, run.id).await?;
        }
        let waits = waits_for(&held, run.pause.as_ref().map_or(now, |pause| pause.since));
        if run.pause.as_ref().map(|pause| &pause.message) == Some(&waits.message) {
            return Ok(false);
        }
        let mut next = run.clone();
        next.pause = Some(waits);
        if let OperationCommitted::Written(version) = self.commit(run, &next, Vec::new(), LockChange::Release).await? {
            next.version = version;
            *run = next;
            return Ok(false);
        }
        *run = load(&self.store, run.id).await?.1;
        Ok(true)
    }

    /// Asks an operation of lower priority to settle what is under way and to give its locks back.
    async fn ask_to_cede(&self, holder: &LockHolder, kind: &str, by: OperationId) -> Result<(), LoadError> {
        let (_, before) = match load(&self.store, holder.operation).await {
            Err(LoadError::NotFound(_)) => return Ok(()),
            other => other?,
        };
        let mut after = before.clone();
        let entries = preempt(&mut after, &format!("{kind} {by}"), Timestamp::now());
        let locks = if cedes_at_once(after.state) { LockChange::Release } else { locks_of(&after) };
        if after == before && locks != LockChange::Release {
            return Ok(());
        }
        let change = change(&before, &after, entries, locks);
        // Outdated: the next attempt to take the locks asks again.
        self.store.operation_commit(None, holder.operation, before.version, &change).await?;
        self.hints.send(Hint::Operation(holder.operation));
        Ok(())
    }
}

/// Returns why an operation waits: for the first operation that holds its locks.
fn waits_for(held: &[LockHolder], since: Timestamp) -> Pause {
    let first = held.first();
    let message = first.map_or_else(
        || "waits for its locks".to_owned(),
        |first| {
            let (key, kind, subject) = (&first.key, &first.kind, &first.subject);
            format!("waits for {key}, which {kind} of {subject} (operation {}) holds", first.operation)
        },
    );
    let by = first.map_or_else(|| "engine".to_owned(), |first| first.operation.to_string());
    Pause { reason: PauseReason::Locks, step: None, message, by, since }
}
