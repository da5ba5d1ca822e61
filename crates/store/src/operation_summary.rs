//! What lists show of operations besides their rows: counts of targets, and operations without a process.

use jiff::SignedDuration;
use sqlx::postgres::types::PgInterval;
use uuid::Uuid;
use vocabulary::OperationId;

use crate::{Store, StoreError};

/// Number of targets of an operation in its present phase, by state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TargetCounts {
    /// Targets over all steps.
    pub total: i64,
    /// Targets that succeeded or were skipped.
    pub done: i64,
    /// Targets that failed.
    pub failed: i64,
    /// Targets under way.
    pub running: i64,
}

/// What an operation does now, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationStep {
    /// The operation.
    pub id: OperationId,
    /// State of the operation, as stored.
    pub state: String,
    /// Title of the first step of the present phase that is not done; `None` when all are.
    pub title: Option<String>,
    /// Why the operation is paused.
    pub pause: Option<String>,
}

impl Store {
    /// Returns what operations do now. Operations that do not exist are left out.
    pub async fn operation_steps(&self, ids: &[OperationId]) -> Result<Vec<OperationStep>, StoreError> {
        let ids: Vec<Uuid> = ids.iter().copied().map(Uuid::from).collect();
        let rows = sqlx::query!(
            r#"
            SELECT o.id, o.state, o.pause ->> 'message' AS pause, (
              SELECT s.step ->> 'title'
              FROM jsonb_array_elements(o.plan -> CASE o.phase WHEN 'Revert' THEN 'revert' ELSE 'forward' END)
                WITH ORDINALITY AS s (step, number)
              WHERE NOT coalesce((SELECT bool_or(t.state IN ('Succeeded', 'Skipped')) FROM operation_target t
                WHERE t.operation = o.id AND t.step = s.step ->> 'id'), false)
              ORDER BY s.number LIMIT 1) AS title
            FROM operation o WHERE o.id = ANY($1)"#,
            &ids
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| OperationStep { id: row.id.into(), state: row.state, title: row.title, pause: row.pause })
            .collect())
    }

    /// Counts the targets of operations.
    pub async fn operation_counts(&self, ids: &[OperationId]) -> Result<Vec<(OperationId, TargetCounts)>, StoreError> {
        let ids: Vec<Uuid> = ids.iter().copied().map(Uuid::from).collect();
        let rows = sqlx::query!(
            r#"
            -- Steps of the present phase.
            WITH s AS (
              SELECT o.id, s ->> 'id' AS step, jsonb_array_length(s -> 'targets') AS targets
              FROM operation o,
                jsonb_array_elements(o.plan -> CASE o.phase WHEN 'Revert' THEN 'revert' ELSE 'forward' END) s
              WHERE o.id = ANY($1)
            )
            SELECT s.id AS "id!", sum(s.targets)::bigint AS "total!", sum(t.done)::bigint AS "done!",
              sum(t.failed)::bigint AS "failed!", sum(t.running)::bigint AS "running!"
            FROM s CROSS JOIN LATERAL (
              SELECT count(*) FILTER (WHERE state IN ('Succeeded', 'Skipped')) AS done,
                count(*) FILTER (WHERE state IN ('Failed', 'TimedOut', 'Indeterminate')) AS failed,
                count(*) FILTER (WHERE state = 'Intended') AS running
              FROM operation_target t WHERE t.operation = s.id AND t.step = s.step) t
            GROUP BY s.id"#,
            &ids
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| {
                let counts =
                    TargetCounts { total: row.total, done: row.done, failed: row.failed, running: row.running };
                (row.id.into(), counts)
            })
            .collect())
    }

    /// Returns the operations that a process must own, that no process owns, and that did not change for `quiet`.
    pub async fn operation_ownerless(
        &self,
        ids: &[OperationId],
        quiet: SignedDuration,
    ) -> Result<Vec<OperationId>, StoreError> {
        let ids: Vec<Uuid> = ids.iter().copied().map(Uuid::from).collect();
        let quiet = PgInterval { months: 0, days: 0, microseconds: quiet.as_micros() as i64 };
        let ids = sqlx::query_scalar!(
            r#"
            SELECT o.id FROM operation o
            WHERE o.id = ANY($1) AND o.state IN ('AwaitingLocks', 'Running', 'Pausing', 'Cancelling', 'Failing')
              AND o.changed_at < now() - $2::interval
              AND NOT EXISTS (SELECT 1 FROM lease l WHERE l.name = 'operation/' || o.id::text AND l.expires_at > now())"#,
            &ids,
            quiet
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(ids.into_iter().map(OperationId::from).collect())
    }
}
