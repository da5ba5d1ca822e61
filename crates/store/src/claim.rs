//! A lease as its holder uses it: the claim, which each write checks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::StoreError;
use crate::write::OpenTransaction;

/// Duration of leases, and the interval of their renewal.
#[derive(Debug, Clone, Copy)]
pub struct LeaseTimes {
    /// Time from a renewal to the expiry of the lease.
    pub lasts: Duration,
    /// Interval between renewals.
    pub renew: Duration,
}

impl Default for LeaseTimes {
    fn default() -> Self {
        Self { lasts: Duration::from_secs(5), renew: Duration::from_secs(1) }
    }
}

/// A lease that this process holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// Claim that writes under this lease present.
    pub claim: Claim,
    /// Time until which this process certainly holds the lease; check it at the moment of use.
    pub valid_until: Instant,
}

/// Proof of authority that a write presents: a lease and its epoch.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    /// Name of the lease.
    pub lease: String,
    /// Epoch with which the lease was acquired.
    pub epoch: i64,
}

impl Claim {
    /// Checks the claim in a transaction and holds it until the transaction ends.
    ///
    /// No process can take the lease over in between.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] when the claim no longer holds.
    pub(crate) async fn check_in_txn(&self, transaction: &mut OpenTransaction) -> Result<(), StoreError> {
        let held = sqlx::query_scalar!(
            "SELECT 1 AS held FROM lease WHERE name = $1 AND epoch = $2 AND expires_at > now() FOR KEY SHARE",
            self.lease,
            self.epoch
        )
        .fetch_optional(&mut **transaction)
        .await?;
        held.map(|_| ()).ok_or_else(|| StoreError::Fenced { lease: self.lease.clone(), epoch: self.epoch })
    }
}

/// Leases that this process wants, each with the sender to its watchers.
pub(crate) type Wanted = Arc<Mutex<BTreeMap<String, watch::Sender<Option<Term>>>>>;
