//! Locks of operations: taken all at once or not at all.

use jiff::Timestamp;
use jiff_sqlx::Timestamp as Ts;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use vocabulary::OperationId;

use crate::decision_row::Txn;
use crate::{Store, StoreError};

/// A lock that an operation needs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LockRow {
    /// Key, as text.
    pub key: String,
    /// `Exclusive` or `Shared`.
    pub mode: String,
}

/// An operation that holds a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockHolder {
    /// Key, as text.
    pub key: String,
    /// `Exclusive` or `Shared`.
    pub mode: String,
    /// The operation.
    pub operation: OperationId,
    /// Kind of the operation.
    pub kind: String,
    /// What the operation changes, for people.
    pub subject: String,
    /// Person or machine identity that created the operation.
    pub actor: String,
    /// Priority of the operation.
    pub priority: i16,
    /// Since when the operation holds the lock.
    pub since: Timestamp,
}

/// Place of a lock in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockPlace {
    /// Key, as text.
    pub key: String,
    /// Operation that holds the lock.
    pub operation: OperationId,
}

impl Store {
    /// Returns the locks that are held, ordered by key and operation; at most `rows`, and after the lock `after`.
    pub async fn lock_list(&self, after: Option<&LockPlace>, rows: i64) -> Result<Vec<LockHolder>, StoreError> {
        let rows = sqlx::query!(
            r#"
            SELECT l.key, l.mode, l.operation, l.since AS "since: Ts", o.kind, o.subject, o.actor, o.priority
            FROM scope_lock l JOIN operation o ON o.id = l.operation
            WHERE (l.key, l.operation) > ($1, $2) ORDER BY l.key, l.operation LIMIT $3"#,
            after.map_or("", |after| &after.key),
            after.map_or(Uuid::nil(), |after| after.operation.into()),
            rows
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| LockHolder {
                key: row.key,
                mode: row.mode,
                operation: row.operation.into(),
                kind: row.kind,
                subject: row.subject,
                actor: row.actor,
                priority: row.priority,
                since: row.since.to_jiff(),
            })
            .collect())
    }
}

/// Takes locks for an operation, or returns the operations that hold conflicting ones. Nothing is taken then.
///
/// An operation of higher priority that waits for a lock counts as its holder: otherwise one that ceded the lock would
/// take it back before the other looks again.
///
/// Lock order: rows of `lock_scope` by key.
pub(crate) async fn take(
    txn: &mut Txn,
    id: OperationId,
    priority: i16,
    wanted: &[LockRow],
) -> Result<Vec<LockHolder>, StoreError> {
    let mut wanted = wanted.to_vec();
    // A key that is wanted in both modes is taken in the first, which is `Exclusive`.
    wanted.sort();
    wanted.dedup_by(|second, first| second.key == first.key);
    let keys: Vec<String> = wanted.iter().map(|lock| lock.key.clone()).collect();
    let modes: Vec<String> = wanted.iter().map(|lock| lock.mode.clone()).collect();
    sqlx::query!(
        "INSERT INTO lock_scope (key) SELECT DISTINCT key FROM unnest($1::text[]) AS n (key) ORDER BY key ON CONFLICT DO NOTHING",
        &keys
    )
    .execute(&mut **txn)
    .await?;
    sqlx::query!("SELECT key FROM lock_scope WHERE key = ANY($1) ORDER BY key FOR UPDATE", &keys)
        .fetch_all(&mut **txn)
        .await?;
    let held = sqlx::query!(
        r#"
        WITH wanted AS (
          SELECT key, mode FROM unnest($1::text[], $2::text[]) AS n (key, mode)
        ), holder AS (
          SELECT l.key, l.mode, l.operation, l.since
          FROM wanted n
          JOIN scope_lock l ON l.key = n.key AND (l.mode = 'Exclusive' OR n.mode = 'Exclusive') AND l.operation <> $3
        ), waiting AS (
          -- Operations of higher priority that have one of the keys next.
          SELECT w.key, w.mode, o.id AS operation, o.changed_at AS since
          FROM operation o CROSS JOIN jsonb_to_recordset(o.locks) AS w (key text, mode text)
          JOIN wanted n ON n.key = w.key AND (w.mode = 'Exclusive' OR n.mode = 'Exclusive')
          WHERE o.state = 'AwaitingLocks' AND o.priority > $4 AND o.id <> $3
        )
        SELECT h.key AS "key!", h.mode AS "mode!", h.operation AS "operation!", h.since AS "since!: Ts", o.kind, o.subject,
          o.actor, o.priority
        FROM (SELECT * FROM holder UNION ALL SELECT * FROM waiting) AS h JOIN operation o ON o.id = h.operation
        ORDER BY o.priority DESC, h.key, h.operation"#,
        &keys,
        &modes,
        Uuid::from(id),
        priority
    )
    .fetch_all(&mut **txn)
    .await?;
    if held.is_empty() {
        sqlx::query!(
            r#"
            INSERT INTO scope_lock (key, operation, mode)
            SELECT n.key, $3, n.mode FROM unnest($1::text[], $2::text[]) AS n (key, mode)
            ON CONFLICT (key, operation) DO UPDATE SET mode = excluded.mode"#,
            &keys,
            &modes,
            Uuid::from(id)
        )
        .execute(&mut **txn)
        .await?;
    }
    Ok(held
        .into_iter()
        .map(|row| LockHolder {
            key: row.key,
            mode: row.mode,
            operation: row.operation.into(),
            kind: row.kind,
            subject: row.subject,
            actor: row.actor,
            priority: row.priority,
            since: row.since.to_jiff(),
        })
        .collect())
}

/// Gives back all locks of an operation. Returns how many they were.
pub(crate) async fn release(txn: &mut Txn, id: OperationId) -> Result<u64, StoreError> {
    let done = sqlx::query!("DELETE FROM scope_lock WHERE operation = $1", Uuid::from(id)).execute(&mut **txn).await?;
    Ok(done.rows_affected())
}
