//! Creates operations: once for each idempotency key, with their locks or not at all.

use runtime::crash::{Side, point};
use serde_json::Value;
use uuid::Uuid;
use vocabulary::OperationId;

use crate::decision_row::Txn;
use crate::journal::{JournalHead, append};
use crate::lock::take;
use crate::{JournalEntry, LockHolder, LockRow, OperationRow, Store, StoreError};

/// Name of the write, for errors and crash points.
const WRITE: &str = "operation_insert";

/// An operation to be created.
#[derive(Debug, Clone)]
pub struct NewOperation {
    /// Identity.
    pub id: OperationId,
    /// Name of the kind.
    pub kind: String,
    /// Version of the kind's logic that made the plan.
    pub logic_version: i32,
    /// Priority; a higher one takes locks from a lower one.
    pub priority: i16,
    /// What the operation changes, for people.
    pub subject: String,
    /// The request, as given.
    pub spec: Value,
    /// Steps and their order.
    pub plan: Value,
    /// Locks that it needs while it runs.
    pub locks: Vec<LockRow>,
    /// First state, as text.
    pub state: &'static str,
    /// Person or machine identity.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// First entry of the journal.
    pub entry: JournalEntry,
}

/// A key by which a repeated request is recognized.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// Person or machine identity.
    pub actor: String,
    /// HTTP method.
    pub method: String,
    /// Path of the request.
    pub path: String,
    /// The key itself.
    pub key: String,
    /// SHA-256 of the body.
    pub body_hash: Vec<u8>,
}

/// An operation with the hash of the request that created it.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyedOperation {
    /// The operation.
    pub operation: OperationRow,
    /// SHA-256 of the request's body.
    pub body_hash: Vec<u8>,
}

/// What became of a request to create an operation.
#[derive(Debug, Clone, PartialEq)]
pub enum OperationInserted {
    /// The operation was created.
    Created,
    /// The same request created this operation before.
    Existing(OperationId),
    /// The key was used for another request.
    KeyReused(OperationId),
    /// Operations of the same or a higher priority hold its locks. Nothing was created.
    Locked(Vec<LockHolder>),
}

impl Store {
    /// Creates an operation.
    ///
    /// Locks that only operations of lower priority hold are not taken: the operation waits for them.
    ///
    /// # Errors
    /// [`StoreError::Unknown`] when no answer arrived; the same request again gives the result.
    pub async fn operation_insert(
        &self,
        new: &NewOperation,
        key: Option<&IdempotencyKey>,
    ) -> Result<OperationInserted, StoreError> {
        let mut txn = self.transaction().await?;
        if !insert(&mut txn, new).await? {
            return Ok(OperationInserted::Existing(new.id));
        }
        if let Some(key) = key
            && let Some(known) = reserve(&mut txn, new.id, key).await?
        {
            return Ok(known);
        }
        let held = take(&mut txn, new.id, new.priority, &new.locks).await?;
        if held.iter().any(|holder| holder.priority >= new.priority) {
            return Ok(OperationInserted::Locked(held));
        }
        let head = append(&mut txn, new.id, JournalHead::default(), std::slice::from_ref(&new.entry)).await?;
        sqlx::query!(
            "UPDATE operation SET journal_seq = $2, journal_hash = $3 WHERE id = $1",
            Uuid::from(new.id),
            head.seq,
            head.hash
        )
        .execute(&mut *txn)
        .await?;
        point(WRITE, Side::Before);
        txn.commit().await.map_err(StoreError::of_commit(WRITE))?;
        point(WRITE, Side::After);
        Ok(OperationInserted::Created)
    }

    /// Returns the operation that a request with this key created, with the hash of that request.
    pub async fn operation_by_key(&self, key: &IdempotencyKey) -> Result<Option<KeyedOperation>, StoreError> {
        let row = sqlx::query!(
            "SELECT body_hash, operation FROM idempotency_key WHERE actor = $1 AND method = $2 AND path = $3 AND key = $4",
            key.actor,
            key.method,
            key.path,
            key.key
        )
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let operation = self.operation_get(row.operation.into()).await?;
        Ok(operation.map(|operation| KeyedOperation { operation, body_hash: row.body_hash }))
    }

    /// Stores that a request with this key led to an operation which something else created.
    ///
    /// A key that is stored already stays as it is.
    pub async fn operation_key_insert(&self, id: OperationId, key: &IdempotencyKey) -> Result<(), StoreError> {
        let mut txn = self.transaction().await?;
        reserve(&mut txn, id, key).await?;
        txn.commit().await.map_err(StoreError::of_commit("operation_key_insert"))
    }
}

/// Inserts the operation, and returns whether there was none with this id.
///
/// Another insert with this id that is not committed yet is awaited.
async fn insert(txn: &mut Txn, new: &NewOperation) -> Result<bool, StoreError> {
    let locks = serde_json::to_value(&new.locks).expect("locks are plain data");
    let inserted = sqlx::query!(
        r#"
        INSERT INTO operation (id, kind, logic_version, priority, subject, spec, plan, locks, state, phase, actor, reason)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'Forward', $10, $11)
        ON CONFLICT (id) DO NOTHING"#,
        Uuid::from(new.id),
        new.kind,
        new.logic_version,
        new.priority,
        new.subject,
        new.spec,
        new.plan,
        locks,
        new.state,
        new.actor,
        new.reason
    )
    .execute(&mut **txn)
    .await?;
    Ok(inserted.rows_affected() > 0)
}

/// Reserves the key for a request about the operation, or returns what the key was used for.
///
/// A twin of the request that runs at the same time waits here for the other's commit.
pub(crate) async fn reserve(
    txn: &mut Txn,
    id: OperationId,
    key: &IdempotencyKey,
) -> Result<Option<OperationInserted>, StoreError> {
    let inserted = sqlx::query!(
        r#"
        INSERT INTO idempotency_key (actor, method, path, key, body_hash, operation) VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT DO NOTHING"#,
        key.actor,
        key.method,
        key.path,
        key.key,
        key.body_hash,
        Uuid::from(id)
    )
    .execute(&mut **txn)
    .await?;
    if inserted.rows_affected() > 0 {
        return Ok(None);
    }
    let known = sqlx::query!(
        "SELECT body_hash, operation FROM idempotency_key WHERE actor = $1 AND method = $2 AND path = $3 AND key = $4",
        key.actor,
        key.method,
        key.path,
        key.key
    )
    .fetch_one(&mut **txn)
    .await?;
    let operation = known.operation.into();
    Ok(Some(if known.body_hash == key.body_hash {
        OperationInserted::Existing(operation)
    } else {
        OperationInserted::KeyReused(operation)
    }))
}
