//! The failover breaker as the scheduler last stored it: whether automatic moves are frozen.

use jiff::Timestamp;
use jiff_sqlx::{Timestamp as Ts, ToSqlx};

use crate::{Claim, Store, StoreError};

/// State of the failover breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailoverBreakerRow {
    /// Whether the breaker is open, because too many clusters were unhealthy at once.
    pub open: bool,
    /// When the breaker opened or closed last.
    pub since: Timestamp,
}

impl Store {
    /// Returns the stored state; `None` when the breaker was never open.
    pub async fn failover_breaker(&self) -> Result<Option<FailoverBreakerRow>, StoreError> {
        let row = sqlx::query!(r#"SELECT open, since AS "since: Ts" FROM failover_breaker"#)
            .fetch_optional(&self.pool)
            .await?;
        Ok(row.map(|row| FailoverBreakerRow { open: row.open, since: row.since.to_jiff() }))
    }

    /// Stores that the breaker opened or closed.
    pub async fn failover_breaker_set(&self, claim: &Claim, row: FailoverBreakerRow) -> Result<(), StoreError> {
        let mut write = self.write(claim, "failover_breaker_set").await?;
        sqlx::query!(
            r#"
            INSERT INTO failover_breaker (open, since) VALUES ($1, $2)
            ON CONFLICT (only_row) DO UPDATE SET open = excluded.open, since = excluded.since"#,
            row.open,
            row.since.to_sqlx() as _
        )
        .execute(&mut **write)
        .await?;
        write.commit().await
    }
}
