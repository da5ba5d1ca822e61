//! What can go wrong with the database.

/// Why a call to the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database does not answer, or closed the connection. What was being committed may or may not be.
    #[error("the database does not answer")]
    Unavailable(#[source] sqlx::Error),
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
    /// The schema is not this program's; how, and what to do.
    #[error("the database schema is not this program's: {0}")]
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
            Self::Busy => "busy",
            Self::Fenced { .. } => "fenced",
            Self::Schema(_) => "schema",
            Self::Corrupt { .. } => "corrupt",
            Self::Seal(_) => "seal",
            Self::Stale { .. } => "stale",
            Self::Refused(_) => "refused",
        }
    }

    /// It speaks of one of the things that were asked for together: without that one the others may go well.
    pub const fn is_of_one(&self) -> bool {
        matches!(self, Self::Corrupt { .. } | Self::Seal(_) | Self::Refused(_))
    }

    /// The database does not take what was to be written, and never will: nothing but another content helps.
    pub fn refuses_content(&self) -> bool {
        let Self::Refused(sqlx::Error::Database(database)) = self else { return false };
        // Class 22: no such value, as a text with a zero in it; class 54: too large; 23514: a check of the schema.
        database.code().is_some_and(|code| ["22", "54", "23514"].iter().any(|class| code.starts_with(class)))
    }

    pub(crate) fn corrupt(what: &'static str, reason: impl std::fmt::Display) -> Self {
        Self::Corrupt { what, reason: reason.to_string() }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let gone = match &error {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::Protocol(_)
            | sqlx::Error::WorkerCrashed => true,
            // Class 57: the server is going down or ended the session; class 08: connection; 53: no resources; 25P03: a
            // transaction that rested too long.
            sqlx::Error::Database(database) => database
                .code()
                .is_some_and(|code| ["57P", "08", "53", "25P03"].iter().any(|class| code.starts_with(class))),
            _ => false,
        };
        if gone { Self::Unavailable(error) } else { Self::Refused(error) }
    }
}
