//! The connection pool, with a deadline in the client for every statement.
//!
//! `sqlx` 0.9 offers no socket option but `TCP_NODELAY`, and waits for an answer as long as the kernel keeps the connection:
//! a quarter of an hour, or for ever, when the peer vanished without a word. Deadlines here and a ping of what was idle take
//! the place of a TCP keep-alive on our side; the server is asked for one on its side (`pool::options`).
//!
//! # Guarantees
//! - No call waits longer than [`Deadlines`] allow.
//! - A connection whose answer is outstanding, because of a deadline or because the caller was dropped, is closed and never
//!   used again. It gives its place in the pool back at once.

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

/// Longest waits for the database.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// Timeout for a connection of the pool, free or new.
    pub connection: Duration,
    /// Timeout for the answer to a statement: the server's own `statement_timeout`, and a margin.
    pub answer: Duration,
    /// Timeout for the answer to a COMMIT, which no timeout of the server ends while it waits for a standby.
    pub commit: Duration,
    /// Time without any answer through the pool after which this process counts as cut off and gives its leases back.
    ///
    /// Longer than a statement may take: a database that is merely slow must not make operators take leases from each other.
    pub cut_off: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            connection: Duration::from_secs(3),
            answer: crate::pool::STATEMENT_TIMEOUT + Duration::from_secs(2),
            commit: Duration::from_secs(3),
            cut_off: crate::pool::STATEMENT_TIMEOUT + Duration::from_secs(5),
        }
    }
}

/// The pool. A reference is an executor whose statements commit by themselves. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    pub(crate) pool: PgPool,
    pub(crate) deadlines: Deadlines,
    pub(crate) reach: Reach,
}

impl Database {
    /// The same pool, with another timeout for answers.
    pub(crate) fn answering_within(&self, answer: Duration) -> Self {
        Self { deadlines: Deadlines { answer, ..self.deadlines }, ..self.clone() }
    }

    /// A connection, for one statement or one transaction.
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
    /// Taken only when this is dropped.
    connection: Option<PoolConnection<Postgres>>,
    deadlines: Deadlines,
    reach: Reach,
    /// Something was asked and not answered: whatever comes over the connection next is not the answer to the next question.
    answer_is_due: bool,
    in_transaction: bool,
}

impl Lent {
    /// Begins a transaction; dropped without [`Self::commit`], it is rolled back.
    pub(crate) async fn begin(&mut self) -> Result<(), Error> {
        let limit = self.deadlines.answer;
        let answer = timeout(limit, self.ask()?.execute("BEGIN")).await;
        self.settle(limit, answer)?;
        self.in_transaction = true;
        Ok(())
    }

    /// Commits. After an error of the connection it is not known whether that took effect.
    pub(crate) async fn commit(&mut self) -> Result<(), Error> {
        let limit = self.deadlines.commit;
        let answer = timeout(limit, self.ask()?.execute("COMMIT")).await;
        self.settle(limit, answer)?;
        self.in_transaction = false;
        Ok(())
    }

    /// The connection, to ask one question.
    fn ask(&mut self) -> Result<&mut PgConnection, Error> {
        match &mut self.connection {
            Some(connection) if !self.answer_is_due => {
                self.answer_is_due = true;
                Ok(&mut **connection)
            }
            _ => Err(Error::Io(std::io::ErrorKind::NotConnected.into())),
        }
    }

    /// Takes the answer to what was asked.
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
            // Closed without a word: over a dead link a farewell would wait as long as any other word.
            _ => return drop(connection.detach()),
        };
        let in_transaction = self.in_transaction;
        runtime.spawn(async move {
            if in_transaction && !matches!(timeout(RETURN_TIMEOUT, connection.execute("ROLLBACK")).await, Ok(Ok(_))) {
                return drop(connection.detach());
            }
            // Given up, it closes the connection: the future owns it.
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

/// Whether the connection is of no use after the error.
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

/// An answer that was read as a whole, as the stream that `sqlx` wants: a deadline is one for the whole answer.
fn in_a_stream<'e, T: Send + 'e>(
    answer: impl Future<Output = Result<Vec<T>, Error>> + Send + 'e,
) -> BoxStream<'e, Result<T, Error>> {
    answer.map_ok(|rows| futures::stream::iter(rows.into_iter().map(Ok))).try_flatten_stream().boxed()
}
