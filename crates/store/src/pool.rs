//! The store, and the options of every connection to the database.

use std::str::FromStr;
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::database::{Database, Deadlines, STATEMENT_TIMEOUT, ping};
use crate::reach::Reach;
use crate::{StoreError, database};

/// Idle time after which a connection is pinged before its next use.
const PING_AFTER_IDLE: Duration = Duration::from_secs(5);

/// Meridian's database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) pool: Database,
}

impl Store {
    /// Returns a store for `url` that connects on first use, with at most `connections` connections.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when the URL cannot be read.
    pub fn open(url: &str, connections: u32) -> Result<Self, StoreError> {
        Self::open_with(url, connections, Deadlines::default())
    }

    /// Returns a store as [`Self::open`] does, with other deadlines.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when the URL cannot be read.
    pub fn open_with(url: &str, connections: u32, deadlines: Deadlines) -> Result<Self, StoreError> {
        let reach = Reach::default();
        let seen = reach.clone();
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(deadlines.connection)
            // Every connection is pinged when it is returned to the pool. It is pinged again before use after a long
            // idle time, or when another connection failed since: after a fail-over, all connections are dead.
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

    /// Sends `SELECT 1`, to check that the database answers.
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

/// Planner settings of every connection.
///
/// Every statement is planned once for each connection. It reads no table row by row where an index exists. Statement
/// and indexes must ensure that the right index is chosen (docs/decisions/0006).
///
/// Otherwise `PostgreSQL` would plan each statement with arrays again for its arguments. Most statements here would
/// take longer to plan than to execute.
///
/// A plan made while a table was empty would read the table row by row, and stay. With `enable_seqscan` off, an index
/// is used however small the table is.
const PLANS: [(&str, &str); 3] = [("plan_cache_mode", "force_generic_plan"), ("enable_seqscan", "off"), ("jit", "off")];

/// TCP keep-alive settings of the server side of every connection.
///
/// The server notices after about 20 s that this process vanished. It then ends its connections and transactions. A
/// firewall between the two sees traffic on idle connections.
const KEEP_ALIVE: [(&str, &str); 3] =
    [("tcp_keepalives_idle", "10"), ("tcp_keepalives_interval", "3"), ("tcp_keepalives_count", "3")];

/// Returns connection options with limits for statements and for idle transactions.
///
/// The server ends a statement that exceeds its timeout, and a transaction that is left open. It ends such a
/// transaction before a lease of the default duration expires. A process that is frozen during a write must not keep
/// other processes from taking over.
pub(crate) fn options(url: &str) -> Result<PgConnectOptions, StoreError> {
    let statement_timeout = format!("{}ms", STATEMENT_TIMEOUT.as_millis());
    Ok(plain_options(url)?
        .options([("statement_timeout", statement_timeout.as_str())])
        .options([("idle_in_transaction_session_timeout", "4s"), ("lock_timeout", "5s")])
        .options(PLANS))
}

/// Returns connection options without limits on statements.
pub(crate) fn plain_options(url: &str) -> Result<PgConnectOptions, StoreError> {
    Ok(PgConnectOptions::from_str(url)?.application_name("meridian").options(KEEP_ALIVE).disable_statement_logging())
}
