//! The journal of operations: append-only, with a chain of hashes.

use jiff::Timestamp;
use jiff_sqlx::{Timestamp as Ts, ToSqlx};
use sha2::{Digest, Sha256};
use uuid::Uuid;
use vocabulary::OperationId;

use crate::decision_row::Txn;
use crate::{Store, StoreError, clean};

/// An entry to append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalEntry {
    /// Kind of the entry, as text.
    pub entry: &'static str,
    /// Step that it is about.
    pub step: Option<String>,
    /// Target that it is about.
    pub target: Option<String>,
    /// Round of the attempt.
    pub round: Option<i32>,
    /// Number of the attempt in its round.
    pub attempt: Option<i32>,
    /// Details, as JSON.
    pub body: String,
    /// Person, operation or program that caused it.
    pub actor: String,
    /// When it happened.
    pub at: Timestamp,
}

/// An entry as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalRow {
    /// Number of the entry; dense, from 1.
    pub seq: i64,
    /// Kind of the entry, as text.
    pub entry: String,
    /// Step that it is about.
    pub step: Option<String>,
    /// Target that it is about.
    pub target: Option<String>,
    /// Round of the attempt.
    pub round: Option<i32>,
    /// Number of the attempt in its round.
    pub attempt: Option<i32>,
    /// Details, as JSON.
    pub body: String,
    /// Person, operation or program that caused it.
    pub actor: String,
    /// When it happened.
    pub at: Timestamp,
    /// Hash over the hash of the entry before and this entry.
    pub hash: Vec<u8>,
}

impl JournalRow {
    /// Returns the hash that the entry must have after an entry with hash `previous`.
    ///
    /// SHA-256 over the previous hash and the fields, each preceded by its length. No two different entries are hashed
    /// as the same bytes.
    pub fn expected_hash(&self, previous: &[u8]) -> Vec<u8> {
        let number = |number: Option<i32>| number.map(|number| number.to_string()).unwrap_or_default();
        let fields = [
            self.seq.to_string(),
            self.entry.clone(),
            self.step.clone().unwrap_or_default(),
            self.target.clone().unwrap_or_default(),
            number(self.round),
            number(self.attempt),
            self.body.clone(),
            self.actor.clone(),
            self.at.as_microsecond().to_string(),
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

impl Store {
    /// Returns the end of an operation's journal, as the operation's row names it.
    pub async fn journal_head(&self, id: OperationId) -> Result<Option<JournalHead>, StoreError> {
        let row = sqlx::query!("SELECT journal_seq, journal_hash FROM operation WHERE id = $1", Uuid::from(id))
            .fetch_optional(&self.pool)
            .await?;
        Ok(row.map(|row| JournalHead { seq: row.journal_seq, hash: row.journal_hash }))
    }

    /// Returns at most `rows` entries after number `after`, in order.
    pub async fn journal_list(&self, id: OperationId, after: i64, rows: i64) -> Result<Vec<JournalRow>, StoreError> {
        let rows = sqlx::query!(
            r#"
            SELECT seq, entry, step, target, round, attempt, body, actor, at AS "at: Ts", hash FROM journal
            WHERE operation = $1 AND seq > $2 ORDER BY seq LIMIT $3"#,
            Uuid::from(id),
            after,
            rows
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| JournalRow {
                seq: row.seq,
                entry: row.entry,
                step: row.step,
                target: row.target,
                round: row.round,
                attempt: row.attempt,
                body: row.body,
                actor: row.actor,
                at: row.at.to_jiff(),
                hash: row.hash,
            })
            .collect())
    }
}

/// Number and hash of the last entry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JournalHead {
    /// Number of the entry; 0 without any.
    pub seq: i64,
    /// Hash of the entry; empty without any.
    pub hash: Vec<u8>,
}

/// Appends entries after `head`, and returns the new head. The operation's row must be locked.
pub(crate) async fn append(
    transaction: &mut Txn,
    id: OperationId,
    mut head: JournalHead,
    entries: &[JournalEntry],
) -> Result<JournalHead, StoreError> {
    if entries.is_empty() {
        return Ok(head);
    }
    let mut rows = Vec::with_capacity(entries.len());
    for entry in entries {
        // The database keeps microseconds; the hash is over what it returns.
        let at = Timestamp::from_microsecond(entry.at.as_microsecond()).unwrap_or(entry.at);
        let mut row = JournalRow {
            seq: head.seq + 1,
            entry: entry.entry.to_owned(),
            step: entry.step.clone(),
            target: entry.target.clone(),
            round: entry.round,
            attempt: entry.attempt,
            body: clean::text(&entry.body),
            actor: clean::text(&entry.actor),
            at,
            hash: Vec::new(),
        };
        row.hash = row.expected_hash(&head.hash);
        head = JournalHead { seq: row.seq, hash: row.hash.clone() };
        rows.push(row);
    }
    let column = |field: fn(&JournalRow) -> String| -> Vec<String> { rows.iter().map(field).collect() };
    let optional =
        |field: fn(&JournalRow) -> Option<String>| -> Vec<Option<String>> { rows.iter().map(field).collect() };
    let number = |field: fn(&JournalRow) -> Option<i32>| -> Vec<Option<i32>> { rows.iter().map(field).collect() };
    let seqs: Vec<i64> = rows.iter().map(|row| row.seq).collect();
    let times: Vec<Ts> = rows.iter().map(|row| row.at.to_sqlx()).collect();
    let hashes: Vec<&[u8]> = rows.iter().map(|row| row.hash.as_slice()).collect();
    sqlx::query!(
        r#"
        INSERT INTO journal (operation, seq, entry, step, target, round, attempt, body, actor, at, hash)
        SELECT $1, * FROM unnest($2::bigint[], $3::text[], $4::text[], $5::text[], $6::int[], $7::int[], $8::text[],
          $9::text[], $10::timestamptz[], $11::bytea[])"#,
        Uuid::from(id),
        &seqs,
        &column(|row| row.entry.clone()),
        &optional(|row| row.step.clone()) as _,
        &optional(|row| row.target.clone()) as _,
        &number(|row| row.round) as _,
        &number(|row| row.attempt) as _,
        &column(|row| row.body.clone()),
        &column(|row| row.actor.clone()),
        &times as _,
        &hashes as _,
    )
    .execute(&mut **transaction)
    .await?;
    Ok(head)
}
