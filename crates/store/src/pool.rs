//! The store, and what is asked of every connection to the database.

use std::str::FromStr;
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::database::{Database, Deadlines, ping};
use crate::reach::Reach;
use crate::{StoreError, database};

/// The server's own timeout for a statement.
pub(crate) const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);
/// Idle time after which a connection is pinged before it is used.
const PING_AFTER_IDLE: Duration = Duration::from_secs(5);

/// Meridian's database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) pool: Database,
}

impl Store {
    /// A store over `url`, connected when first used; at most `connections` at once.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when the URL cannot be read.
    pub fn open(url: &str, connections: u32) -> Result<Self, StoreError> {
        Self::open_with(url, connections, Deadlines::default())
    }

    /// The same with other deadlines.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when the URL cannot be read.
    pub fn open_with(url: &str, connections: u32, deadlines: Deadlines) -> Result<Self, StoreError> {
        let reach = Reach::default();
        let seen = reach.clone();
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(deadlines.connection)
            // Each was pinged when it was given back. It is pinged again when that was long ago, or when another one failed
            // since: after a fail-over all of them are dead.
            .test_before_acquire(false)
            .before_acquire(move |connection, meta| {
                let doubtful = meta.idle_for > PING_AFTER_IDLE || seen.failed_within(meta.idle_for);
                Box::pin(async move {
                    if doubtful {
                        ping(connection).await?;
                    }
                    Ok(true)
                })
            })
            .connect_lazy_with(options(url)?);
        Ok(Self { pool: Database { pool, deadlines, reach } })
    }

    /// Asks the database for nothing but an answer.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let quick = self.pool.answering_within(database::PING_TIMEOUT);
        sqlx::query("SELECT 1").execute(&quick).await?;
        Ok(())
    }

    /// Closes all connections.
    pub async fn close(&self) {
        self.pool.pool.close().await;
    }
}

/// Every statement is planned once for each connection, and reads no table row by row where it has an index; that it takes the
/// right one is for statement and indexes to see to (docs/decisions/0006). Planned anew for its arguments, as
/// Postgres does for arrays, most statements here take longer to plan than to carry out. A plan made while a table was
/// empty would read it row by row, and stay: where there is an index it is used however small the table is.
const PLANS: [(&str, &str); 3] = [("plan_cache_mode", "force_generic_plan"), ("enable_seqscan", "off"), ("jit", "off")];

/// The server notices after about 20 s that this process vanished, and ends its connections and transactions. A firewall
/// between the two sees traffic on connections that are idle.
const KEEP_ALIVE: [(&str, &str); 3] =
    [("tcp_keepalives_idle", "10"), ("tcp_keepalives_interval", "3"), ("tcp_keepalives_count", "3")];

/// Connection options: a statement that takes longer than its time-out, or a transaction left open, ends. The latter before a
/// lease of the usual length does: whoever is frozen in the middle of a write must not keep others from taking over.
pub(crate) fn options(url: &str) -> Result<PgConnectOptions, StoreError> {
    let statement_timeout = format!("{}ms", STATEMENT_TIMEOUT.as_millis());
    Ok(plain_options(url)?
        .options([("statement_timeout", statement_timeout.as_str())])
        .options([("idle_in_transaction_session_timeout", "4s"), ("lock_timeout", "5s")])
        .options(PLANS))
}

/// Connection options without limits on statements.
pub(crate) fn plain_options(url: &str) -> Result<PgConnectOptions, StoreError> {
    Ok(PgConnectOptions::from_str(url)?.application_name("meridian").options(KEEP_ALIVE).disable_statement_logging())
}
