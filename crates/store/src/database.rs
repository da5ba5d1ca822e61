//! The connection pool, with a client-side deadline for every statement.
//!
//! `sqlx` 0.9 offers no socket option except `TCP_NODELAY`. It waits for an answer as long as the kernel keeps the
//! connection. When the peer vanished without closing it, that is a quarter of an hour, or for ever.
//!
//! Deadlines here and a ping of idle connections replace a TCP keep-alive on the client side. `pool::options` asks
//! the server for a keep-alive on its side.
//!
//! # Guarantees
//! - No call waits longer than [`Deadlines`] allow.
//! - A connection with an outstanding answer is closed and never used again. An answer is outstanding after a
//!   deadline or when the caller was dropped. The connection frees its place in the pool at once.

use std::fmt;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryFutureExt, TryStreamExt};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{Connection, Either, Error, Execute, Executor, PgConnection, PgPool, Postgres, SqlStr};
use tokio::time::timeout;

use crate::reach::Reach;

/// Timeout for the ping of a connection that was idle.
pub(crate) const PING_TIMEOUT: Duration = Duration::from_secs(1);
/// Timeout for a rollback, and for the ping before a connection becomes idle.
const RETURN_TIMEOUT: Duration = Duration::from_secs(3);

/// Timeouts for calls to the database.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// Timeout for acquiring a connection from the pool, free or new.
    pub connection: Duration,
    /// Timeout for the answer to a statement: the server's `statement_timeout` and a margin.
    pub answer: Duration,
    /// Timeout for the answer to a COMMIT.
    ///
    /// No timeout of the server ends a COMMIT that waits for a standby.
    pub commit: Duration,
    /// Timeout without any answer through the pool, after which the process gives its leases back.
    ///
    /// The process then counts as cut off. The timeout is longer than a statement may take: a slow database must not
    /// make operators take leases from each other.
    pub cut_off: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            connection: Duration::from_secs(3),
            answer: STATEMENT_TIMEOUT + Duration::from_secs(2),
            commit: Duration::from_secs(3),
            cut_off: STATEMENT_TIMEOUT + Duration::from_secs(5),
        }
    }
}

/// The connection pool. Cheap to clone.
///
/// A shared reference is an executor; each statement on it is a transaction of its own.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    pub(crate) pool: PgPool,
    pub(crate) deadlines: Deadlines,
    pub(crate) reach: Reach,
}

impl Database {
    /// Returns the same pool with another timeout for answers.
    pub(crate) fn answering_within(&self, answer: Duration) -> Self {
        Self { deadlines: Deadlines { answer, ..self.deadlines }, ..self.clone() }
    }

    /// Acquires a connection for one statement or one transaction.
    pub(crate) async fn lend(&self) -> Result<Lent, Error> {
        let connection = self.pool.acquire().await.inspect_err(|_| self.reach.failed())?;
        Ok(Lent {
            connection: Some(connection),
            deadlines: self.deadlines,
            reach: self.reach.clone(),
            answer_is_due: false,
            in_transaction: false,
        })
    }
}

/// Pings a connection that was idle, before it is used.
pub(crate) async fn ping(connection: &mut PgConnection) -> Result<(), Error> {
    timeout(PING_TIMEOUT, connection.ping()).await.unwrap_or_else(|_| Err(no_answer(PING_TIMEOUT)))
}

/// A connection of the pool while it is in use. A mutable reference is an executor.
pub(crate) struct Lent {
    /// `None` only after `drop` took the connection.
    connection: Option<PoolConnection<Postgres>>,
    deadlines: Deadlines,
    reach: Reach,
    /// Whether a question was sent and its answer has not arrived.
    ///
    /// The next bytes on such a connection do not answer the next question.
    answer_is_due: bool,
    in_transaction: bool,
}

impl Lent {
    /// Begins a transaction. Dropping `self` without [`Self::commit`] rolls it back.
    pub(crate) async fn begin(&mut self) -> Result<(), Error> {
        let limit = self.deadlines.answer;
        let answer = timeout(limit, self.ask()?.execute("BEGIN")).await;
        self.settle(limit, answer)?;
        self.in_transaction = true;
        Ok(())
    }

    /// Commits the transaction. After a connection error, its outcome is unknown.
    pub(crate) async fn commit(&mut self) -> Result<(), Error> {
        let limit = self.deadlines.commit;
        let answer = timeout(limit, self.ask()?.execute("COMMIT")).await;
        self.settle(limit, answer)?;
        self.in_transaction = false;
        Ok(())
    }

    /// Returns the connection for one question, and marks the answer as due.
    fn ask(&mut self) -> Result<&mut PgConnection, Error> {
        match &mut self.connection {
            Some(connection) if !self.answer_is_due => {
                self.answer_is_due = true;
                Ok(&mut **connection)
            }
            _ => Err(Error::Io(std::io::ErrorKind::NotConnected.into())),
        }
    }

    /// Records the outcome of the question that was asked, and returns it.
    fn settle<T>(
        &mut self,
        limit: Duration,
        answer: Result<Result<T, Error>, tokio::time::error::Elapsed>,
    ) -> Result<T, Error> {
        let answer = answer.unwrap_or_else(|_| Err(no_answer(limit)));
        self.answer_is_due = answer.as_ref().is_err_and(breaks_connection);
        if self.answer_is_due {
            self.reach.failed()
        } else {
            self.reach.answered()
        }
        answer
    }

    async fn collect<'q, E: 'q + Execute<'q, Postgres>>(
        &mut self,
        query: E,
    ) -> Result<Vec<Either<PgQueryResult, PgRow>>, Error> {
        let limit = self.deadlines.answer;
        let answer = timeout(limit, self.ask()?.fetch_many(query).try_collect()).await;
        self.settle(limit, answer)
    }

    async fn first<'q, E: 'q + Execute<'q, Postgres>>(&mut self, query: E) -> Result<Option<PgRow>, Error> {
        let limit = self.deadlines.answer;
        let answer = timeout(limit, self.ask()?.fetch_optional(query)).await;
        self.settle(limit, answer)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        let runtime = match tokio::runtime::Handle::try_current() {
            Ok(runtime) if !self.answer_is_due => runtime,
            // Close without a farewell message: over a dead link, that message would wait as long as any other.
            _ => return drop(connection.detach()),
        };
        let in_transaction = self.in_transaction;
        runtime.spawn(async move {
            if in_transaction && !matches!(timeout(RETURN_TIMEOUT, connection.execute("ROLLBACK")).await, Ok(Ok(_))) {
                return drop(connection.detach());
            }
            // On timeout, dropping the future closes the connection that it owns.
            let _ = timeout(RETURN_TIMEOUT, connection.return_to_pool()).await;
        });
    }
}

impl fmt::Debug for Lent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Lent").field("answer_is_due", &self.answer_is_due).finish_non_exhaustive()
    }
}

fn no_answer(limit: Duration) -> Error {
    let why = format!("no answer within {} s", limit.as_secs_f64());
    Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, why))
}

/// Whether the connection is unusable after this error.
fn breaks_connection(error: &Error) -> bool {
    matches!(error, Error::Io(_) | Error::Tls(_) | Error::Protocol(_) | Error::WorkerCrashed)
}

impl<'c> Executor<'c> for &'c mut Lent {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        in_a_stream(async move { self.collect(query).await })
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        async move { self.first(query).await }.boxed()
    }

    fn prepare_with<'e>(self, sql: SqlStr, parameters: &'e [PgTypeInfo]) -> BoxFuture<'e, Result<PgStatement, Error>>
    where
        'c: 'e,
    {
        async move {
            let limit = self.deadlines.answer;
            let answer = timeout(limit, self.ask()?.prepare_with(sql, parameters)).await;
            self.settle(limit, answer)
        }
        .boxed()
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<sqlx::Describe<Postgres>, Error>>
    where
        'c: 'e,
    {
        async move {
            let limit = self.deadlines.answer;
            let answer = timeout(limit, self.ask()?.describe(sql)).await;
            self.settle(limit, answer)
        }
        .boxed()
    }
}

impl<'c> Executor<'c> for &'c Database {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        in_a_stream(async move { self.lend().await?.collect(query).await })
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        async move { self.lend().await?.first(query).await }.boxed()
    }

    fn prepare_with<'e>(self, sql: SqlStr, parameters: &'e [PgTypeInfo]) -> BoxFuture<'e, Result<PgStatement, Error>>
    where
        'c: 'e,
    {
        async move { self.lend().await?.prepare_with(sql, parameters).await }.boxed()
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<sqlx::Describe<Postgres>, Error>>
    where
        'c: 'e,
    {
        async move { self.lend().await?.describe(sql).await }.boxed()
    }
}

/// Turns an answer that was read as a whole into the stream that `sqlx` expects.
///
/// A deadline applies to the whole answer, so no row is returned before the last one arrived.
fn in_a_stream<'e, T: Send + 'e>(
    answer: impl Future<Output = Result<Vec<T>, Error>> + Send + 'e,
) -> BoxStream<'e, Result<T, Error>> {
    answer.map_ok(|rows| futures::stream::iter(rows.into_iter().map(Ok))).try_flatten_stream().boxed()
}

/// Timeout for a statement, enforced by the server.
pub(crate) const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);
