//! The audit: changes that were asked for, append-only, with a chain of hashes for each writer.

use jiff::Timestamp;
use jiff_sqlx::{Timestamp as Ts, ToSqlx};
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;
use uuid::Uuid;
use vocabulary::OperationId;

use crate::{Store, StoreError, clean};

/// Maximum length of a text in a row, in bytes.
const TEXT_MAX: usize = 4_096;

/// A row to append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// When the request was answered.
    pub at: Timestamp,
    /// Subject that asked, or `anonymous`.
    pub actor: String,
    /// HTTP method.
    pub method: String,
    /// Path of the request.
    pub path: String,
    /// Operation that the request was about.
    pub operation: Option<OperationId>,
    /// HTTP status of the answer.
    pub status: u16,
    /// Reason that the subject gave, or why the request was refused.
    pub reason: String,
    /// Identity of the request.
    pub request_id: String,
}

/// A row as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// Number over all chains, in the order of writing.
    pub id: i64,
    /// Chain that the row belongs to.
    pub chain: Uuid,
    /// Number in the chain; dense, from 1.
    pub seq: i64,
    /// What was asked and answered.
    pub entry: AuditEntry,
    /// Hash over the hash of the row before in the chain, and this row.
    pub hash: Vec<u8>,
}

impl AuditRow {
    /// Returns the hash that the row must have after a row with hash `previous`.
    ///
    /// SHA-256 over the previous hash and the fields, each preceded by its length.
    pub fn expected_hash(&self, previous: &[u8]) -> Vec<u8> {
        let entry = &self.entry;
        let fields = [
            self.chain.to_string(),
            self.seq.to_string(),
            entry.at.as_microsecond().to_string(),
            entry.actor.clone(),
            entry.method.clone(),
            entry.path.clone(),
            entry.operation.map(|id| id.to_string()).unwrap_or_default(),
            entry.status.to_string(),
            entry.reason.clone(),
            entry.request_id.clone(),
        ];
        let mut digest = Sha256::new();
        digest.update(previous);
        for field in &fields {
            digest.update((field.len() as u64).to_be_bytes());
            digest.update(field.as_bytes());
        }
        digest.finalize().to_vec()
    }
}

/// A chain of rows that one writer appends to.
#[derive(Debug)]
pub struct AuditChain(Mutex<Head>);

/// Last row of a chain.
#[derive(Debug)]
struct Head {
    chain: Uuid,
    seq: i64,
    hash: Vec<u8>,
}

impl Head {
    fn begin() -> Self {
        Self { chain: Uuid::now_v7(), seq: 0, hash: Vec::new() }
    }
}

impl Default for AuditChain {
    fn default() -> Self {
        Self(Mutex::new(Head::begin()))
    }
}

/// Filter of a page of the audit.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Only this subject.
    pub actor: Option<String>,
    /// Only this operation.
    pub operation: Option<OperationId>,
    /// Only rows before this number, which ends the page before.
    pub before: Option<i64>,
}

macro_rules! audit_row {
    ($row:expr) => {{
        let row = $row;
        Ok(AuditRow {
            id: row.id,
            chain: row.chain,
            seq: row.seq,
            entry: AuditEntry {
                at: row.at.to_jiff(),
                actor: row.actor,
                method: row.method,
                path: row.path,
                operation: row.operation.map(OperationId::from),
                status: u16::try_from(row.status).map_err(|error| StoreError::corrupt("audit.status", error))?,
                reason: row.reason,
                request_id: row.request_id,
            },
            hash: row.hash,
        })
    }};
}

impl Store {
    /// Appends a row to a chain.
    ///
    /// After an error the writer begins a new chain: the row may have been written.
    pub async fn audit_append(&self, chain: &AuditChain, entry: &AuditEntry) -> Result<(), StoreError> {
        let mut head = chain.0.lock().await;
        let text = |text: &str| vocabulary::shorten(&clean::text(text), TEXT_MAX);
        let entry = AuditEntry {
            // The database keeps microseconds; the hash is over what it returns.
            at: Timestamp::from_microsecond(entry.at.as_microsecond()).unwrap_or(entry.at),
            actor: text(&entry.actor),
            method: text(&entry.method),
            path: text(&entry.path),
            reason: text(&entry.reason),
            request_id: text(&entry.request_id),
            ..entry.clone()
        };
        let mut row = AuditRow { id: 0, chain: head.chain, seq: head.seq + 1, entry, hash: Vec::new() };
        row.hash = row.expected_hash(&head.hash);
        // A cancelled or failed insert leaves the state of the chain unknown, so the chain ends here.
        *head = Head::begin();
        sqlx::query!(
            r#"
            INSERT INTO audit (chain, seq, at, actor, method, path, operation, status, reason, request_id, hash)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"#,
            row.chain,
            row.seq,
            row.entry.at.to_sqlx() as _,
            row.entry.actor,
            row.entry.method,
            row.entry.path,
            row.entry.operation.map(Uuid::from),
            i32::from(row.entry.status),
            row.entry.reason,
            row.entry.request_id,
            row.hash
        )
        .execute(&self.pool)
        .await?;
        *head = Head { chain: row.chain, seq: row.seq, hash: row.hash };
        Ok(())
    }

    /// Returns a page of the audit, the newest row first.
    pub async fn audit_page(&self, filter: &AuditFilter, rows: i64) -> Result<Vec<AuditRow>, StoreError> {
        let before = filter.before.unwrap_or(i64::MAX);
        // Each filter has a statement of its own, because each needs another index.
        match (filter.operation, &filter.actor) {
            (Some(operation), actor) => sqlx::query!(
                r#"
                SELECT id, chain, seq, at AS "at: Ts", actor, method, path, operation, status, reason, request_id, hash
                FROM audit WHERE operation = $1 AND id < $2 AND ($3::text IS NULL OR actor = $3)
                ORDER BY id DESC LIMIT $4"#,
                Uuid::from(operation),
                before,
                actor.as_ref(),
                rows
            )
            .fetch_all(&self.pool)
            .await?
            .into_iter()
            .map(|row| audit_row!(row))
            .collect(),
            (None, Some(actor)) => sqlx::query!(
                r#"
                SELECT id, chain, seq, at AS "at: Ts", actor, method, path, operation, status, reason, request_id, hash
                FROM audit WHERE actor = $1 AND id < $2 ORDER BY id DESC LIMIT $3"#,
                actor,
                before,
                rows
            )
            .fetch_all(&self.pool)
            .await?
            .into_iter()
            .map(|row| audit_row!(row))
            .collect(),
            (None, None) => sqlx::query!(
                r#"
                SELECT id, chain, seq, at AS "at: Ts", actor, method, path, operation, status, reason, request_id, hash
                FROM audit WHERE id < $1 ORDER BY id DESC LIMIT $2"#,
                before,
                rows
            )
            .fetch_all(&self.pool)
            .await?
            .into_iter()
            .map(|row| audit_row!(row))
            .collect(),
        }
    }
}
