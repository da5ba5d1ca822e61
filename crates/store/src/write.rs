//! Writes under a claim: each checks and holds the claim in its own transaction.

use std::ops::{Deref, DerefMut};

use runtime::crash::{Side, point};

use crate::database::Lent;
use crate::{Claim, Store, StoreError};

/// Names of all writes under a claim, as `runtime::crash` uses them.
pub const WRITES: [&str; 22] = [
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
    "directive_put",
    "directive_end",
    "operation_commit",
    "release_open",
    "release_conclude",
    "failover_breaker_set",
    "status_set",
];

/// A transaction. Dropping it before its end rolls it back.
#[derive(Debug)]
pub(crate) struct OpenTransaction(Lent);

/// A transaction that holds its claim until it ends. Dropping it rolls it back.
pub(crate) struct Write {
    name: &'static str,
    transaction: OpenTransaction,
}

impl Store {
    /// Begins a write; `name` is one of [`WRITES`].
    ///
    /// # Errors
    /// [`StoreError::Fenced`] when the claim no longer holds.
    pub(crate) async fn write(&self, claim: &Claim, name: &'static str) -> Result<Write, StoreError> {
        let mut transaction = self.transaction().await?;
        claim.check_in_txn(&mut transaction).await?;
        Ok(Write { name, transaction })
    }
}

impl Store {
    /// Begins a transaction without a claim, for what persons ask for.
    pub(crate) async fn transaction(&self) -> Result<OpenTransaction, StoreError> {
        let mut transaction = OpenTransaction(self.pool.lend().await?);
        transaction.begin().await?;
        Ok(transaction)
    }
}

impl Write {
    /// Commits the transaction. All writes of this crate may be repeated.
    ///
    /// # Errors
    /// [`StoreError::Unknown`] when no answer arrived: the write may have taken effect.
    pub(crate) async fn commit(mut self) -> Result<(), StoreError> {
        point(self.name, Side::Before);
        self.transaction.commit().await.map_err(StoreError::of_commit(self.name))?;
        point(self.name, Side::After);
        Ok(())
    }
}

impl Deref for Write {
    type Target = OpenTransaction;

    fn deref(&self) -> &Self::Target {
        &self.transaction
    }
}

impl DerefMut for Write {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.transaction
    }
}

impl Deref for OpenTransaction {
    type Target = Lent;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for OpenTransaction {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}
