//! What can go wrong with the database.

/// Why a call to the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database does not answer, or closed the connection.
    #[error("the database does not answer")]
    Unavailable(#[source] sqlx::Error),
    /// No answer to a commit came in time: it may have taken effect, or may do so later.
    #[error("it is not known whether {write} was committed")]
    Unknown {
        /// Which write, one of [`crate::WRITES`].
        write: &'static str,
        /// Why no answer came.
        #[source]
        source: sqlx::Error,
    },
    /// The database could not do it now: a timeout, a deadlock, or a conflict with another transaction.
    #[error("the database gave the statement up")]
    Again(#[source] sqlx::Error),
    /// All connections this process may have are in use, for longer than anything should take.
    #[error("all connections of this process to the database are in use")]
    Busy,
    /// The lease under which the write was made is no longer ours. Nothing was written.
    #[error("lease {lease} epoch {epoch} is no longer held; the write was refused")]
    Fenced {
        /// Name of the lease.
        lease: String,
        /// Epoch that was claimed.
        epoch: i64,
    },
    /// The schema is not this program's, or the database takes no writes; how, and what to do.
    #[error("the database does not work with this program: {0}")]
    Schema(String),
    /// A row holds something this program cannot read.
    #[error("{what} in the database cannot be read: {reason}")]
    Corrupt {
        /// Which value.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A sealed value cannot be opened or made.
    #[error(transparent)]
    Seal(#[from] crate::seal::SealError),
    /// What a decision was made from changed before it was written. Nothing was written; decide again.
    #[error("{what} changed since they were read; nothing was written")]
    Stale {
        /// What changed.
        what: &'static str,
    },
    /// A statement was refused.
    #[error("a statement was refused")]
    Refused(#[source] sqlx::Error),
}

impl StoreError {
    /// Stable word for metrics.
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
            Self::Refused(_) => "refused",
        }
    }

    /// Whether the error is about one of the things that were asked for together: without that one the others may succeed.
    ///
    /// Never true of an error about the database at this moment. A slow database would get each batch again in ever smaller parts, and be slower yet.
    pub const fn is_of_one(&self) -> bool {
        matches!(self, Self::Corrupt { .. } | Self::Seal(_) | Self::Refused(_))
    }

    /// The database does not take what was to be written, and never will: nothing but another content helps.
    pub fn refuses_content(&self) -> bool {
        let Self::Refused(sqlx::Error::Database(database)) = self else { return false };
        // Class 22: no such value, as a text with a zero in it; class 54: too large; 23514: a check of the schema.
        is_any_of(database.code().as_deref(), &["22", "54", "23514"])
    }

    /// Rows of an application with which nothing can be done.
    pub fn unreadable(reason: impl std::fmt::Display) -> Self {
        Self::corrupt("application", reason)
    }

    pub(crate) fn corrupt(what: &'static str, reason: impl std::fmt::Display) -> Self {
        Self::Corrupt { what, reason: reason.to_string() }
    }

    /// The error of a COMMIT, or of a statement that commits by itself.
    pub(crate) fn of_commit(write: &'static str) -> impl Fn(sqlx::Error) -> Self {
        move |error| match Self::from(error) {
            // Without a connection nothing was sent.
            Self::Unavailable(source) if !matches!(source, sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed) => {
                Self::Unknown { write, source }
            }
            other => other,
        }
    }
}

/// SQLSTATEs of a database that is gone or has no room for us (`PostgreSQL`, appendix A): 08 connection, 53 resources, 57P
/// shutdown or an ended session, 58 the system under it, 25006 one that takes no writes, 25P03 and 25P04 a transaction that was ended because it took too long.
const UNAVAILABLE: [&str; 7] = ["08", "53", "57P", "58", "25006", "25P03", "25P04"];
/// SQLSTATEs of a statement that was given up: 40 conflict, serialization and deadlock, 55P03 lock timeout, 55006 object in
/// use, 57014 statement timeout.
const GIVEN_UP: [&str; 4] = ["40", "55P03", "55006", "57014"];

/// The class of a SQLSTATE.
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
