//! Changes of operations: a compare-and-swap on the version, with targets, journal and locks in one transaction.

use runtime::crash::{Side, point};
use serde_json::Value;
use uuid::Uuid;
use vocabulary::OperationId;

use crate::decision_row::Txn;
use crate::journal::{JournalHead, append};
use crate::lock::{release, take};
use crate::operation_insert::reserve;
use crate::{Claim, IdempotencyKey, JournalEntry, LockHolder, LockRow, Store, StoreError, clean, operation_target};

/// Name of the write, for errors and crash points.
const WRITE: &str = "operation_commit";

/// State of an operation, without its targets.
#[derive(Debug, Clone, PartialEq)]
pub struct OperationHeader {
    /// State, as text.
    pub state: &'static str,
    /// The state is final.
    pub is_over: bool,
    /// Direction, as text.
    pub phase: &'static str,
    /// Why it pauses or waits.
    pub pause: Option<Value>,
    /// What persons said.
    pub marks: Value,
}

/// A change of an operation.
#[derive(Debug, Clone, PartialEq)]
pub struct OperationChange {
    /// The new state.
    pub header: OperationHeader,
    /// Targets that changed.
    pub targets: Vec<crate::TargetRow>,
    /// Entries for the journal.
    pub entries: Vec<JournalEntry>,
    /// What happens to the locks.
    pub locks: LockChange,
    /// Key of the request that caused the change; written with it, once.
    pub key: Option<IdempotencyKey>,
}

/// What a change does with the locks of its operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockChange {
    /// They stay.
    Keep,
    /// All are taken, or nothing is written.
    Take,
    /// All are given back.
    Release,
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq)]
pub enum OperationCommitted {
    /// It was written; this is the version now.
    Written(i64),
    /// The operation changed meanwhile, does not exist, or the key was used before. Nothing was written.
    Outdated,
    /// Others hold its locks. Nothing was written.
    Locked(Vec<LockHolder>),
}

impl Store {
    /// Writes a change that was made from `version`.
    ///
    /// The owner of the operation writes under its claim. A person's verb is written without one: the version alone
    /// orders it with the owner's changes.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] when the claim no longer holds. [`StoreError::Unknown`] when no answer arrived: read the
    /// operation again.
    pub async fn operation_commit(
        &self,
        claim: Option<&Claim>,
        id: OperationId,
        version: i64,
        change: &OperationChange,
    ) -> Result<OperationCommitted, StoreError> {
        let mut txn = self.transaction().await?;
        if let Some(claim) = claim {
            claim.check_in_txn(&mut txn).await?;
        }
        let row = sqlx::query!(
            "SELECT version, priority, journal_seq, journal_hash, locks FROM operation WHERE id = $1 FOR NO KEY UPDATE",
            Uuid::from(id)
        )
        .fetch_optional(&mut *txn)
        .await?;
        let Some(row) = row.filter(|row| row.version == version) else { return Ok(OperationCommitted::Outdated) };
        if let Some(key) = &change.key
            && reserve(&mut txn, id, key).await?.is_some()
        {
            return Ok(OperationCommitted::Outdated);
        }
        match change.locks {
            LockChange::Keep => {}
            LockChange::Release => drop(release(&mut txn, id).await?),
            LockChange::Take => {
                let wanted: Vec<LockRow> =
                    serde_json::from_value(row.locks).map_err(|error| StoreError::corrupt("operation.locks", error))?;
                let held = take(&mut txn, id, row.priority, &wanted).await?;
                if !held.is_empty() {
                    return Ok(OperationCommitted::Locked(held));
                }
            }
        }
        let head = JournalHead { seq: row.journal_seq, hash: row.journal_hash };
        let head = append(&mut txn, id, head, &change.entries).await?;
        operation_target::put(&mut txn, id, &change.targets).await?;
        let version = version + 1;
        update(&mut txn, id, version, &change.header, &head).await?;
        point(WRITE, Side::Before);
        txn.commit().await.map_err(StoreError::of_commit(WRITE))?;
        point(WRITE, Side::After);
        Ok(OperationCommitted::Written(version))
    }
}

async fn update(
    txn: &mut Txn,
    id: OperationId,
    version: i64,
    header: &OperationHeader,
    head: &JournalHead,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        UPDATE operation SET version = $2, state = $3, phase = $4, pause = $5, marks = $6, journal_seq = $7, journal_hash = $8,
          changed_at = now(), started_at = coalesce(started_at, CASE WHEN $3 = 'Running' THEN now() END),
          ended_at = CASE WHEN $9::boolean THEN now() END
        WHERE id = $1"#,
        Uuid::from(id),
        version,
        header.state,
        header.phase,
        header.pause.as_ref().map(clean::json),
        clean::json(&header.marks),
        head.seq,
        head.hash,
        header.is_over
    )
    .execute(&mut **txn)
    .await?;
    Ok(())
}
