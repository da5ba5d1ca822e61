//! Whether automatic moves are frozen, as whoever decides saw it last.

use jiff::Timestamp;
use jiff_sqlx::{Timestamp as Ts, ToSqlx};

use crate::{Claim, Store, StoreError};

/// What was seen last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailoverBreakerRow {
    /// Too much was unhealthy at once.
    pub open: bool,
    /// Since when it is so.
    pub since: Timestamp,
}

impl Store {
    /// What was seen last; nothing when it was never open.
    pub async fn failover_breaker(&self) -> Result<Option<FailoverBreakerRow>, StoreError> {
        let row = sqlx::query!(r#"SELECT open, since AS "since: Ts" FROM failover_breaker"#)
            .fetch_optional(&self.pool)
            .await?;
        Ok(row.map(|row| FailoverBreakerRow { open: row.open, since: row.since.to_jiff() }))
    }

    /// Remembers that it opened or closed.
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
