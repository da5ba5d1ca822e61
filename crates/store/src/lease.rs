//! Leases: who may do what now.
//!
//! A process keeps all its leases by one UPDATE a second, on a thread and a connection of their own, so that
//! neither a busy runtime nor a busy pool can lose them. Time is the database's; giving up is decided by the
//! local monotonic clock.
//!
//! A write under a claim locks the lease's row `FOR KEY SHARE`, to renew it takes `FOR NO KEY UPDATE`, which goes together
//! with that, and to take it over `FOR UPDATE`, which does not (`PostgreSQL`, "Explicit Locking", row-level locks).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnectOptions;
use tokio::sync::{Notify, oneshot, watch};
use tokio_util::task::AbortOnDropHandle;

use crate::database::Database;
use crate::renewal::Renewal;
use crate::write::OpenTransaction;
use crate::{Store, StoreError, pool};

/// Between the name of a holder and its nonce.
const NONCE: char = '#';

/// How long a lease lasts and how often it is renewed.
#[derive(Debug, Clone, Copy)]
pub struct LeaseTimes {
    /// From a renewal to expiry.
    pub lasts: Duration,
    /// Between renewals.
    pub renew: Duration,
}

impl Default for LeaseTimes {
    fn default() -> Self {
        Self { lasts: Duration::from_secs(5), renew: Duration::from_secs(1) }
    }
}

/// A held lease, as long as it is valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// What writes present.
    pub claim: Claim,
    /// Until then the lease is certainly ours; check it at the moment of use.
    pub valid_until: Instant,
}

/// What a write presents to show that it may be made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    /// Name of the lease.
    pub lease: String,
    /// Epoch it was acquired with.
    pub epoch: i64,
}

impl Claim {
    /// Refuses the transaction unless the claim still holds; from then on nobody can take the lease over before
    /// the transaction ends.
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

/// Leases that are wanted, each with whoever watches it.
pub(crate) type Wanted = Arc<Mutex<BTreeMap<String, watch::Sender<Option<Term>>>>>;

/// Interval between pings through the pool, for leases that are kept only while the pool works.
const PING_INTERVAL: Duration = Duration::from_secs(2);

/// Acquires and keeps leases for one process.
#[derive(Debug)]
pub struct Keeper {
    wanted: Wanted,
    /// A lease is wanted that was not before.
    more: Arc<Notify>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
    /// Pings the database through the pool.
    ping: Option<AbortOnDropHandle<()>>,
}

impl Keeper {
    /// Starts the thread that keeps leases under the name `holder` and a nonce. Two keepers never share an epoch, whatever their
    /// names: a copied configuration or a Pod that was replaced while it still ran would otherwise lead with the same claim.
    ///
    /// # Errors
    /// When the URL cannot be read.
    pub fn start(url: &str, holder: String, times: LeaseTimes) -> Result<Self, StoreError> {
        Self::start_thread(pool::options(url)?, &holder, times, None)
    }

    /// Starts a keeper that gives all leases back while `store` gets no answer from the database, although the keeper's own
    /// connection may still work: a process that can do nothing must let another one. Needs the runtime that the store is used
    /// in.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start_for(store: &Store, holder: String, times: LeaseTimes) -> Result<Self, StoreError> {
        let options = store.pool.pool.connect_options().as_ref().clone();
        let pool = store.pool.clone();
        pool.reach.begin();
        let mut keeper = Self::start_thread(options, &holder, times, Some(pool))?;
        let store = store.clone();
        keeper.ping = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            loop {
                if let Err(error) = store.ping().await {
                    tracing::debug!(error = vocabulary::chain(&error), "the database does not answer through the pool");
                }
                tokio::time::sleep(PING_INTERVAL).await;
            }
        })));
        Ok(keeper)
    }

    fn start_thread(
        options: PgConnectOptions,
        holder: &str,
        times: LeaseTimes,
        pool: Option<Database>,
    ) -> Result<Self, StoreError> {
        let holder = format!("{holder}{NONCE}{}", uuid::Uuid::new_v4().simple());
        let wanted = Wanted::default();
        let (stop, stopped) = oneshot::channel();
        let more = Arc::<Notify>::default();
        let told = Arc::clone(&more);
        let renewal = Renewal::new(options, holder, times, Arc::clone(&wanted), pool);
        let thread = std::thread::Builder::new()
            .name("leases".to_owned())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .expect("a current-thread runtime needs nothing that can fail here");
                runtime.block_on(renewal.run(&told, stopped));
            })
            .map_err(|error| StoreError::Unavailable(sqlx::Error::Io(error)))?;
        Ok(Self { wanted, more, stop: Some(stop), thread: Some(thread), ping: None })
    }

    /// Wants a lease from now on; the receiver holds the term whenever the lease is ours.
    pub fn want(&self, lease: &str) -> watch::Receiver<Option<Term>> {
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = wanted.entry(lease.to_owned()).or_insert_with(|| {
            self.more.notify_one();
            watch::channel(None).0
        });
        sender.subscribe()
    }

    /// No longer wants a lease. It ends by itself; whoever watched it sees its end now.
    pub fn leave(&self, lease: &str) {
        if let Some(sender) = self.wanted.lock().unwrap_or_else(PoisonError::into_inner).remove(lease) {
            sender.send_replace(None);
        }
    }

    /// Releases all leases, so that others need not wait for their expiry, and ends the thread.
    pub async fn release(mut self) {
        self.stop.take();
        self.ping.take();
        if let Some(thread) = self.thread.take() {
            // The thread ends after at most one database call, which is bounded.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}
