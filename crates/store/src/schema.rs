//! The schema: its version in the database, and the programs that it works with.
//!
//! Migrations are additive files, and a released migration is never edited. A program needs all migrations that it
//! contains. It works with later migrations too, unless one of them raised `schema_range.oldest_program` above the
//! program's last migration.
//!
//! So `migrate` runs first, and programs of the previous version continue to run beside new ones.

use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};

use crate::{Store, StoreError, database};

static MIGRATIONS: Migrator = {
    let mut migrations = sqlx::migrate!("../../migrations");
    // Migrations of a later program are accepted.
    migrations.ignore_missing = true;
    migrations
};

/// Timeout for reading the schema version. It is short, because readiness must report a fresh result.
const CHECK_TIMEOUT: Duration = Duration::from_secs(3);

/// Limits of a migration.
///
/// A migration may take as long as an index over a large table takes. It waits for a lock only as long as other
/// statements may wait behind it. `migration_options` also permits sequential scans, because a migration may read
/// tables of any size.
const MIGRATION_LIMITS: [(&str, &str); 3] =
    [("statement_timeout", "0"), ("lock_timeout", "1min"), ("idle_in_transaction_session_timeout", "0")];

/// Error text for a database that takes no writes.
const READ_ONLY: &str =
    "it takes no writes, as on a standby or where default_transaction_read_only is on; connect to the primary";

/// Remedy for a schema that is older than the program.
const MIGRATE: &str = "run `meridian-operator migrate --database-url URL`";

/// An applied migration: version and checksum.
type Applied = (i64, Vec<u8>);

impl Store {
    /// Migrates the schema to the version of this program.
    ///
    /// Runs may overlap: one waits for the other, for as long as the lock timeout allows. A newer schema is left
    /// unchanged.
    ///
    /// # Errors
    /// [`StoreError::Schema`] when a migration fails or the schema does not work with this program.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let mut connection = PgConnection::connect_with(&migration_options(self)).await?;
        MIGRATIONS.run(&mut connection).await.map_err(|error| StoreError::Schema(vocabulary::chain(&error)))?;
        // All migrations are committed, so an error while closing the connection changes nothing.
        let _ = connection.close().await;
        self.check().await
    }

    /// Checks that the database answers and that its schema works with this program.
    ///
    /// Servers never migrate. While the schema does not fit, a [keeper](crate::Keeper::start_for) of this store holds
    /// no leases.
    ///
    /// # Errors
    /// [`StoreError::Schema`] with the remedy when the schema does not fit or the database takes no writes.
    pub async fn check(&self) -> Result<(), StoreError> {
        let checked = self.check_schema().await;
        match &checked {
            Ok(()) => self.pool.reach.schema_fits(true),
            Err(StoreError::Schema(_)) => self.pool.reach.schema_fits(false),
            Err(_) => {}
        }
        checked
    }

    async fn check_schema(&self) -> Result<(), StoreError> {
        let quick = self.pool.answering_within(CHECK_TIMEOUT);
        let applied: Vec<Applied> =
            match sqlx::query_as("SELECT version, checksum FROM _sqlx_migrations WHERE success ORDER BY version")
                .fetch_all(&quick)
                .await
            {
                Ok(applied) => applied,
                Err(error) if is_no_table(&error) => return Err(StoreError::Schema(format!("it is empty; {MIGRATE}"))),
                // The pool retries until its timeout, and then reports only the timeout.
                Err(sqlx::Error::PoolTimedOut) => return Err(self.why_no_connection().await),
                Err(error) => return Err(error.into()),
            };
        let known: Vec<Applied> =
            MIGRATIONS.iter().map(|migration| (migration.version, migration.checksum.to_vec())).collect();
        let oldest_program = if last(&applied) > last(&known) {
            sqlx::query_scalar("SELECT oldest_program FROM schema_range").fetch_one(&quick).await?
        } else {
            0
        };
        fits(&known, &applied, oldest_program).map_err(StoreError::Schema)?;
        // A standby answers every query, but accepts no lease.
        let takes_writes: bool =
            sqlx::query_scalar("SELECT current_setting('transaction_read_only') = 'off'").fetch_one(&quick).await?;
        if takes_writes { Ok(()) } else { Err(StoreError::Schema(READ_ONLY.to_owned())) }
    }

    /// Returns why the pool has no connection: the error of the server for one more connection.
    async fn why_no_connection(&self) -> StoreError {
        let options = self.pool.pool.connect_options();
        let more = PgConnection::connect_with(&options);
        match tokio::time::timeout(self.pool.deadlines.connection, more).await {
            Ok(Err(error)) => error.into(),
            Ok(Ok(connection)) => {
                // The server answers. An error while closing this connection changes nothing.
                let _ = tokio::time::timeout(database::PING_TIMEOUT, connection.close()).await;
                StoreError::Busy
            }
            Err(_) => sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()).into(),
        }
    }
}

fn migration_options(store: &Store) -> PgConnectOptions {
    // Of several values for one option, the last one counts.
    let options = store.pool.pool.connect_options().as_ref().clone();
    options.options(MIGRATION_LIMITS).options([("enable_seqscan", "on")])
}

fn is_no_table(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(sqlx::error::DatabaseError::code).as_deref() == Some("42P01")
}

fn last(migrations: &[Applied]) -> i64 {
    migrations.last().map_or(0, |(version, _)| *version)
}

/// Checks that a program with migrations `known` works with a schema with migrations `applied`.
fn fits(known: &[Applied], applied: &[Applied], oldest_program: i64) -> Result<(), String> {
    let (knows, has) = (last(known), last(applied));
    for (version, checksum) in known {
        match applied.iter().find(|(other, _)| other == version) {
            None => return Err(format!("it is older, version {has}, and lacks migration {version}; {MIGRATE}")),
            Some((_, other)) if other != checksum => {
                return Err(format!(
                    "migration {version} of it is another build's; run that build, or this one on an empty database"
                ));
            }
            Some(_) => {}
        }
    }
    if oldest_program > knows {
        return Err(format!(
            "it is newer, version {has}, and works with programs from version {oldest_program} on, and this one is of \
             version {knows}; run the program that it was brought up to"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use sqlx::Row;
    use testbed::Bed;

    use super::*;

    /// Released migrations, with the start of their SHA-384. They never change.
    const FROZEN: [(i64, &str); 9] = [
        (1, "b0db0eeb68f6e459e162109a7e5a90271bf4879c78b570cf"),
        (2, "ec3b386930270b068ad447d589ad05e5c70d75fe90734824"),
        (3, "8d058076771db0fdf09c80a111f2fb4dbd29f85a43b29242"),
        (5, "f652a026848e7841e6b11a503d978c944c4828563d7ef19c"),
        (7, "e5056fbeca7cd569979aebbcb55036729512e6d3837880a4"),
        (8, "e2cce7acb287c50be5f8d4a7690e6a20c2b0c31aeba6f2f5"),
        (9, "5d4bfa554fff832594643fe31bd1578fe748ae11e93fb50a"),
        (10, "0ba38ae1cd9c3a3804bb8c94c67e4904633f8a446804f7c5"),
        (11, "5c42ece2a47a79a1a67e4db3865538ce73d0f9acbc7dac3a"),
    ];

    #[test]
    fn released_migrations_are_not_edited() {
        for (version, checksum) in FROZEN {
            let migration = MIGRATIONS.iter().find(|migration| migration.version == version).unwrap();
            let hex: String = migration.checksum.iter().map(|byte| format!("{byte:02x}")).collect();
            assert!(hex.starts_with(checksum), "migration {version} was edited: {hex}; write a new one instead");
        }
    }

    #[test]
    fn a_program_works_with_later_additive_schemas() {
        let step = |version: i64| (version, vec![version as u8]);
        let known = [step(1), step(3)];
        for (case, applied, oldest_program, expected) in [
            ("the same", vec![step(1), step(3)], 1, None),
            ("one that came between", vec![step(1), step(2), step(3)], 1, None),
            ("later, additive", vec![step(1), step(3), step(4)], 3, None),
            ("later, and not for us", vec![step(1), step(3), step(4)], 4, Some("run the program")),
            ("older", vec![step(1)], 1, Some("run `meridian-operator migrate --database-url URL`")),
            ("empty", vec![], 0, Some("run `meridian-operator migrate --database-url URL`")),
            ("edited", vec![(1, vec![9]), step(3)], 1, Some("another build's")),
        ] {
            match (fits(&known, &applied, oldest_program), expected) {
                (Ok(()), None) => {}
                (Err(message), Some(expected)) => assert!(message.contains(expected), "{case}: {message}"),
                (outcome, _) => panic!("{case}: {outcome:?}"),
            }
        }
    }

    #[tokio::test]
    async fn a_migration_has_limits_of_its_own() {
        let bed = Bed::builder().start().await.unwrap();
        let store = Store::open(&bed.postgres.url(), 1).unwrap();
        let mut connection = PgConnection::connect_with(&migration_options(&store)).await.unwrap();
        for (setting, expected) in [("statement_timeout", "0"), ("lock_timeout", "1min"), ("enable_seqscan", "on")] {
            let row = sqlx::query("SELECT current_setting($1)").bind(setting).fetch_one(&mut connection).await.unwrap();
            assert_eq!(row.get::<String, _>(0), expected, "{setting}");
        }
    }
}
