//! Errors of calls to the database.

/// Reason why a call to the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database does not answer, or closed the connection.
    #[error("the database does not answer")]
    Unavailable(#[source] sqlx::Error),
    /// No answer to a commit arrived in time: the commit may have taken effect, or may still do so.
    #[error("it is not known whether {write} was committed")]
    Unknown {
        /// Name of the write, one of [`crate::WRITES`].
        write: &'static str,
        /// Error that prevented the answer.
        #[source]
        source: sqlx::Error,
    },
    /// The database ended the statement: a timeout, a deadlock, or a conflict with another transaction.
    #[error("the database gave the statement up")]
    Again(#[source] sqlx::Error),
    /// All connections that this process may open are in use, for longer than any call should take.
    #[error("all connections of this process to the database are in use")]
    Busy,
    /// This process no longer holds the lease of the write. Nothing was written.
    #[error("lease {lease} epoch {epoch} is no longer held; the write was refused")]
    Fenced {
        /// Name of the lease.
        lease: String,
        /// Epoch in the claim.
        epoch: i64,
    },
    /// The schema does not fit this program, or the database takes no writes.
    ///
    /// The text contains the difference and the remedy.
    #[error("the database does not work with this program: {0}")]
    Schema(String),
    /// A row contains a value that this program cannot read.
    #[error("{what} in the database cannot be read: {reason}")]
    Corrupt {
        /// Name of the value.
        what: &'static str,
        /// Reason why the value cannot be read.
        reason: String,
    },
    /// A value cannot be sealed or opened.
    #[error(transparent)]
    Seal(#[from] crate::seal::SealError),
    /// An input of a decision changed before the decision was written.
    ///
    /// Nothing was written; the caller decides again.
    #[error("{what} changed since they were read; nothing was written")]
    Stale {
        /// Name of the input that changed.
        what: &'static str,
    },
    /// An owner would have more rows than the maximum. Nothing was written.
    #[error("{owner} would have more than {max} {what}; nothing was written")]
    TooMany {
        /// Name of the rows, in the plural.
        what: &'static str,
        /// Owner of the rows.
        owner: String,
        /// Maximum number of rows of one owner.
        max: i64,
    },
    /// The database refused a statement.
    #[error("a statement was refused")]
    Refused(#[source] sqlx::Error),
}

impl StoreError {
    /// Returns a stable word for the error, for metrics.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "unavailable",
            Self::Unknown { .. } => "unknown",
            Self::Again(_) => "again",
            Self::Busy => "busy",
            Self::Fenced { .. } => "fenced",
            Self::Schema(_) => "schema",
            Self::Corrupt { .. } => "corrupt",
            Self::Seal(_) => "seal",
            Self::Stale { .. } => "stale",
            Self::TooMany { .. } => "too_many",
            Self::Refused(_) => "refused",
        }
    }

    /// Whether the error concerns one item of a batch, so that the other items may succeed without it.
    ///
    /// Always false for an error about the present state of the database. Otherwise callers would send each batch
    /// again in ever smaller parts, and make a slow database slower.
    pub const fn is_of_one(&self) -> bool {
        matches!(self, Self::Corrupt { .. } | Self::Seal(_) | Self::Refused(_))
    }

    /// Whether the database refuses the content of a write for ever: only other content helps.
    pub fn refuses_content(&self) -> bool {
        let Self::Refused(sqlx::Error::Database(database)) = self else { return false };
        // Class 22: invalid value, such as a text with NUL. Class 54: too large. 23514: a CHECK of the schema.
        is_any_of(database.code().as_deref(), &["22", "54", "23514"])
    }

    /// Returns the error for rows of an application that cannot be processed.
    pub fn unreadable(reason: impl std::fmt::Display) -> Self {
        Self::corrupt("application", reason)
    }

    pub(crate) fn corrupt(what: &'static str, reason: impl std::fmt::Display) -> Self {
        Self::Corrupt { what, reason: reason.to_string() }
    }

    /// Converts the error of a COMMIT, or of a statement that commits by itself.
    pub(crate) fn of_commit(write: &'static str) -> impl Fn(sqlx::Error) -> Self {
        move |error| match Self::from(error) {
            // Without a connection from the pool, nothing was sent.
            Self::Unavailable(source) if !matches!(source, sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed) => {
                Self::Unknown { write, source }
            }
            other => other,
        }
    }
}

/// SQLSTATEs of a database that is gone or has no room for this program.
///
/// From `PostgreSQL`, appendix A: 08 connection, 53 resources, 57P shutdown or an ended session, 58 system error.
/// 25006 is a database that takes no writes. 25P03 and 25P04 are transactions that were ended because they took too
/// long.
const UNAVAILABLE: [&str; 7] = ["08", "53", "57P", "58", "25006", "25P03", "25P04"];
/// SQLSTATEs of a statement that the database ended.
///
/// 40 is a conflict, serialization failure or deadlock, 55P03 a lock timeout. 55006 is an object in use, 57014 a
/// statement timeout.
const GIVEN_UP: [&str; 4] = ["40", "55P03", "55006", "57014"];

/// Whether a SQLSTATE begins with one of the classes.
fn is_any_of(code: Option<&str>, classes: &[&str]) -> bool {
    code.is_some_and(|code| classes.iter().any(|class| code.starts_with(class)))
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        match &error {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::Protocol(_)
            | sqlx::Error::WorkerCrashed => Self::Unavailable(error),
            _ if is_any_of(code.as_deref(), &UNAVAILABLE) => Self::Unavailable(error),
            _ if is_any_of(code.as_deref(), &GIVEN_UP) => Self::Again(error),
            _ => Self::Refused(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use sqlx::AssertSqlSafe;
    use testbed::Bed;

    use crate::{Store, StoreError};

    #[tokio::test]
    async fn an_error_of_the_moment_is_never_about_one_row() {
        let bed = Bed::builder().start().await.unwrap();
        let store = Store::open(&bed.postgres.url(), 1).unwrap();
        for (case, code, kind) in [
            ("statement timeout", "57014", "again"),
            ("lock timeout", "55P03", "again"),
            ("deadlock", "40P01", "again"),
            ("serialization", "40001", "again"),
            ("shutdown", "57P01", "unavailable"),
            ("starting up", "57P03", "unavailable"),
            ("too many connections", "53300", "unavailable"),
            ("disk full", "53100", "unavailable"),
            ("idle in transaction", "25P03", "unavailable"),
            ("connection", "08006", "unavailable"),
            ("read only", "25006", "unavailable"),
            ("no such value", "22021", "refused"),
            ("unique", "23505", "refused"),
            ("check", "23514", "refused"),
        ] {
            let statement = format!("do $$ begin raise exception 'no' using errcode = '{code}'; end $$");
            let error = sqlx::query(AssertSqlSafe(statement)).execute(&store.pool).await.unwrap_err();
            let error = StoreError::from(error);
            assert_eq!(error.kind(), kind, "{case}: {error:?}");
            assert_eq!(error.is_of_one(), kind == "refused", "{case}");
        }
        store.close().await;
    }
}
