//! A write under a claim: the claim is checked, and held, in the transaction of the write itself.

use std::ops::{Deref, DerefMut};

use runtime::crash::{Side, point};
use sqlx::{Postgres, Transaction};

use crate::{Claim, Store, StoreError};

/// All writes under a claim, as `runtime::crash` names them.
pub const WRITES: [&str; 17] = [
    "application_take",
    "revisions_collect",
    "application_remove",
    "application_forget",
    "revisions_were_ready",
    "cell_take",
    "cell_leave",
    "cell_forget",
    "cluster_take",
    "cluster_replace",
    "cluster_forget",
    "cluster_status_set",
    "cluster_seen",
    "credential_set",
    "decision_commit",
    "failover_breaker_set",
    "status_set",
];

/// A transaction that may be committed only while its claim holds. Dropped, it changes nothing.
pub(crate) struct Write {
    name: &'static str,
    transaction: Transaction<'static, Postgres>,
}

impl Store {
    /// Begins a write, one of [`WRITES`].
    ///
    /// # Errors
    /// [`StoreError::Fenced`] when the claim no longer holds.
    pub(crate) async fn write(&self, claim: &Claim, name: &'static str) -> Result<Write, StoreError> {
        let mut transaction = self.pool.begin().await?;
        claim.check_in_txn(&mut transaction).await?;
        Ok(Write { name, transaction })
    }
}

impl Write {
    /// Commits. An error leaves open whether it took effect; all writes here may be repeated.
    pub(crate) async fn commit(self) -> Result<(), StoreError> {
        point(self.name, Side::Before);
        self.transaction.commit().await?;
        point(self.name, Side::After);
        Ok(())
    }
}

impl Deref for Write {
    type Target = Transaction<'static, Postgres>;

    fn deref(&self) -> &Self::Target {
        &self.transaction
    }
}

impl DerefMut for Write {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.transaction
    }
}
