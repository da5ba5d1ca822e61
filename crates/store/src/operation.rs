//! Operations: their rows, read by id, by activity and in pages.

use jiff::Timestamp;
use jiff_sqlx::Timestamp as Ts;
use serde_json::Value;
use uuid::Uuid;
use vocabulary::OperationId;

use crate::{Store, StoreError};

/// An operation as stored, without its targets and its journal.
#[derive(Debug, Clone, PartialEq)]
pub struct OperationRow {
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
    /// State, as text.
    pub state: String,
    /// Direction, as text.
    pub phase: String,
    /// Why it pauses or waits.
    pub pause: Option<Value>,
    /// What persons said, and why it failed.
    pub marks: Value,
    /// Version of the rows; rises with every change.
    pub version: i64,
    /// Person or machine identity that created it.
    pub actor: String,
    /// Why it was created.
    pub reason: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it first ran.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// When it changed last.
    pub changed_at: Timestamp,
    /// Number of the last journal entry.
    pub journal_seq: i64,
}

/// An operation that a process must own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveOperation {
    /// Identity.
    pub id: OperationId,
    /// Name of the kind.
    pub kind: String,
    /// Version of the kind's logic that made the plan.
    pub logic_version: i32,
}

/// Filter of a page of operations.
#[derive(Debug, Clone, Default)]
pub struct OperationFilter {
    /// Only this kind.
    pub kind: Option<String>,
    /// Only this state.
    pub state: Option<String>,
    /// Only operations with this subject.
    pub subject: Option<String>,
    /// Only operations whose request names this Application, as `namespace/name`.
    pub application: Option<String>,
    /// Only operations created before this one, which ends the page before.
    pub before: Option<OperationId>,
}

impl Store {
    /// Returns one operation.
    pub async fn operation_get(&self, id: OperationId) -> Result<Option<OperationRow>, StoreError> {
        let row = sqlx::query!(
            r#"
            SELECT id, kind, logic_version, priority, subject, spec, plan, state, phase, pause, marks, version, actor, reason,
              created_at AS "created_at: Ts", started_at AS "started_at: Ts", ended_at AS "ended_at: Ts",
              changed_at AS "changed_at: Ts", journal_seq
            FROM operation WHERE id = $1"#,
            Uuid::from(id)
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(|row| OperationRow {
            id: row.id.into(),
            kind: row.kind,
            logic_version: row.logic_version,
            priority: row.priority,
            subject: row.subject,
            spec: row.spec,
            plan: row.plan,
            state: row.state,
            phase: row.phase,
            pause: row.pause,
            marks: row.marks,
            version: row.version,
            actor: row.actor,
            reason: row.reason,
            created_at: row.created_at.to_jiff(),
            started_at: row.started_at.map(Ts::to_jiff),
            ended_at: row.ended_at.map(Ts::to_jiff),
            changed_at: row.changed_at.to_jiff(),
            journal_seq: row.journal_seq,
        }))
    }

    /// Returns a page of operations, the newest first. `plan` is left out of the rows.
    pub async fn operation_page(&self, filter: &OperationFilter, rows: i64) -> Result<Vec<OperationRow>, StoreError> {
        let before = filter.before.map(Uuid::from);
        let rows = sqlx::query!(
            r#"
            SELECT id, kind, logic_version, priority, subject, spec, state, phase, pause, marks, version, actor, reason,
              created_at AS "created_at: Ts", started_at AS "started_at: Ts", ended_at AS "ended_at: Ts",
              changed_at AS "changed_at: Ts", journal_seq
            FROM operation o
            WHERE ($1::text IS NULL OR kind = $1) AND ($2::text IS NULL OR state = $2) AND ($3::text IS NULL OR subject = $3)
              AND ($6::text IS NULL OR spec ->> 'application' = $6) AND ($4::uuid IS NULL OR (o.created_at, o.id) < (SELECT b.created_at, b.id FROM operation b WHERE b.id = $4))
            ORDER BY o.created_at DESC, o.id DESC LIMIT $5"#,
            filter.kind,
            filter.state,
            filter.subject,
            before,
            rows,
            filter.application
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| OperationRow {
                id: row.id.into(),
                kind: row.kind,
                logic_version: row.logic_version,
                priority: row.priority,
                subject: row.subject,
                spec: row.spec,
                plan: Value::Null,
                state: row.state,
                phase: row.phase,
                pause: row.pause,
                marks: row.marks,
                version: row.version,
                actor: row.actor,
                reason: row.reason,
                created_at: row.created_at.to_jiff(),
                started_at: row.started_at.map(Ts::to_jiff),
                ended_at: row.ended_at.map(Ts::to_jiff),
                changed_at: row.changed_at.to_jiff(),
                journal_seq: row.journal_seq,
            })
            .collect())
    }

    /// Returns the operations that a process must own, ordered by id.
    pub async fn operation_active(&self) -> Result<Vec<ActiveOperation>, StoreError> {
        let rows = sqlx::query!(
            r#"
            SELECT id, kind, logic_version FROM operation
            WHERE state IN ('AwaitingLocks', 'Running', 'Pausing', 'Cancelling', 'Failing') ORDER BY id"#
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| ActiveOperation { id: row.id.into(), kind: row.kind, logic_version: row.logic_version })
            .collect())
    }
}
