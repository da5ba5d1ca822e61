//! Targets of operations: one row per step and target that was begun or concluded.

use jiff::Timestamp;
use jiff_sqlx::{Timestamp as Ts, ToSqlx};
use uuid::Uuid;
use vocabulary::OperationId;

use crate::decision_row::Txn;
use crate::{Store, StoreError};

/// Progress of one target, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetRow {
    /// Id of the step.
    pub step: String,
    /// The target.
    pub target: String,
    /// State, as text.
    pub state: String,
    /// Round; part of the idempotency key.
    pub round: i32,
    /// Number of automatic retries in this round.
    pub attempt: i32,
    /// Time before which no retry begins.
    pub run_after: Option<Timestamp>,
    /// Time at which an attempt under way times out.
    pub deadline: Option<Timestamp>,
    /// Progress or result, for people.
    pub message: String,
    /// When the state or the message changed.
    pub changed_at: Timestamp,
}

impl Store {
    /// Returns the targets of an operation that were begun or concluded.
    pub async fn operation_targets(&self, id: OperationId) -> Result<Vec<TargetRow>, StoreError> {
        let rows = sqlx::query!(
            r#"
            SELECT step, target, state, round, attempt, run_after AS "run_after: Ts", deadline AS "deadline: Ts", message,
              changed_at AS "changed_at: Ts"
            FROM operation_target WHERE operation = $1 ORDER BY step, target"#,
            Uuid::from(id)
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| TargetRow {
                step: row.step,
                target: row.target,
                state: row.state,
                round: row.round,
                attempt: row.attempt,
                run_after: row.run_after.map(Ts::to_jiff),
                deadline: row.deadline.map(Ts::to_jiff),
                message: row.message,
                changed_at: row.changed_at.to_jiff(),
            })
            .collect())
    }
}

/// Inserts or replaces targets of an operation.
pub(crate) async fn put(transaction: &mut Txn, id: OperationId, rows: &[TargetRow]) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    let text =
        |field: fn(&TargetRow) -> &str| -> Vec<String> { rows.iter().map(|row| field(row).to_owned()).collect() };
    let number = |field: fn(&TargetRow) -> i32| -> Vec<i32> { rows.iter().map(field).collect() };
    let after: Vec<Option<Ts>> = rows.iter().map(|row| row.run_after.map(ToSqlx::to_sqlx)).collect();
    let deadlines: Vec<Option<Ts>> = rows.iter().map(|row| row.deadline.map(ToSqlx::to_sqlx)).collect();
    let changed: Vec<Ts> = rows.iter().map(|row| row.changed_at.to_sqlx()).collect();
    sqlx::query!(
        r#"
        INSERT INTO operation_target (operation, step, target, state, round, attempt, run_after, deadline, message, changed_at)
        SELECT $1, * FROM unnest($2::text[], $3::text[], $4::text[], $5::int[], $6::int[], $7::timestamptz[],
          $8::timestamptz[], $9::text[], $10::timestamptz[])
        ON CONFLICT (operation, step, target) DO UPDATE SET state = excluded.state, round = excluded.round,
          attempt = excluded.attempt, run_after = excluded.run_after, deadline = excluded.deadline,
          message = excluded.message, changed_at = excluded.changed_at"#,
        Uuid::from(id),
        &text(|row| &row.step),
        &text(|row| &row.target),
        &text(|row| &row.state),
        &number(|row| row.round),
        &number(|row| row.attempt),
        &after as _,
        &deadlines as _,
        &text(|row| &row.message),
        &changed as _,
    )
    .execute(&mut **transaction)
    .await?;
    Ok(())
}
