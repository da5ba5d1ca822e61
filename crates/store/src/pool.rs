//! The connection pool and the schema it expects.

use std::cmp::Ordering;
use std::str::FromStr;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgPool};

use crate::StoreError;

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations");

/// A connection that rested no longer is used without asking whether it is still good.
const TESTED: Duration = Duration::from_secs(5);
/// Longest wait for a free connection, and for a new one.
const ACQUIRE: Duration = Duration::from_secs(3);

/// What to do about a schema that is behind.
const MIGRATE: &str = "run `meridian-operator migrate`";

/// Meridian's database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) pool: PgPool,
}

impl Store {
    /// A store over `url`, connected when first used; at most `connections` at once.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when the URL cannot be read.
    pub fn open(url: &str, connections: u32) -> Result<Self, StoreError> {
        let options = options(url)?;
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(ACQUIRE)
            // Each was tested when it was given back, and whoever meets one that broke since tries again.
            .test_before_acquire(false)
            .before_acquire(|connection, meta| {
                Box::pin(async move {
                    if meta.idle_for > TESTED {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .connect_lazy_with(options);
        Ok(Self { pool })
    }

    /// Brings the schema up to this program's. Runs may overlap: one waits for the other.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        MIGRATIONS.run(&self.pool).await.map_err(|error| StoreError::Schema(vocabulary::chain(&error)))
    }

    /// Checks that the database answers and that its schema is this program's. Servers never migrate.
    pub async fn check(&self) -> Result<(), StoreError> {
        let applied: Vec<(i64, Vec<u8>)> =
            match sqlx::query_as("SELECT version, checksum FROM _sqlx_migrations WHERE success ORDER BY version")
                .fetch_all(&self.pool)
                .await
            {
                Ok(applied) => applied,
                Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42P01") => {
                    return Err(StoreError::Schema(format!("it is empty; {MIGRATE}")));
                }
                // The pool tries again until its time is over, and then says only that.
                Err(sqlx::Error::PoolTimedOut) => return Err(self.why_no_connection().await),
                Err(error) => return Err(error.into()),
            };
        let wanted: Vec<(i64, Vec<u8>)> =
            MIGRATIONS.iter().map(|migration| (migration.version, migration.checksum.to_vec())).collect();
        if applied == wanted {
            return Ok(());
        }
        let last = |steps: &[(i64, Vec<u8>)]| steps.last().map_or(0, |(version, _)| *version);
        let (has, wants) = (last(&applied), last(&wanted));
        Err(StoreError::Schema(match has.cmp(&wants) {
            Ordering::Less => format!("it is older, version {has} instead of {wants}; {MIGRATE}"),
            Ordering::Greater => {
                format!("it is newer, version {has} instead of {wants}; run the program that it was brought up to")
            }
            Ordering::Equal => {
                format!("version {has} of it is another build's; run that build, or this one on an empty database")
            }
        }))
    }

    /// Why the pool has no connection to give: what the server says to one more.
    async fn why_no_connection(&self) -> StoreError {
        let options = self.pool.connect_options();
        let more = sqlx::PgConnection::connect_with(&options);
        match tokio::time::timeout(ACQUIRE, more).await {
            Ok(Err(error)) => error.into(),
            Ok(Ok(connection)) => {
                // It answers; whether it also hears that we leave makes no difference.
                let _ = connection.close().await;
                StoreError::Busy
            }
            Err(_) => sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()).into(),
        }
    }

    /// Closes all connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// Every statement is planned once for each connection, and reads no table row by row where it has an index; that it takes the
/// right one is for statement and indexes to see to (docs/decisions/0006). Planned anew for its arguments, as
/// Postgres does for arrays, most statements here take longer to plan than to carry out. A plan made while a table was
/// empty would read it row by row, and stay: where there is an index it is used however small the table is.
const PLANS: [(&str, &str); 3] = [("plan_cache_mode", "force_generic_plan"), ("enable_seqscan", "off"), ("jit", "off")];

/// Connection options: a statement that takes longer than its time-out, or a transaction left open, ends. The latter before a
/// lease of the usual length does: whoever is frozen in the middle of a write must not keep others from taking over.
pub(crate) fn options(url: &str) -> Result<PgConnectOptions, StoreError> {
    Ok(PgConnectOptions::from_str(url)?
        .application_name("meridian")
        .options([("statement_timeout", "10s"), ("idle_in_transaction_session_timeout", "4s"), ("lock_timeout", "5s")])
        .options(PLANS)
        .disable_statement_logging())
}
