//! Leases: each gives one process the right to certain writes for a limited time.
//!
//! A process renews all its leases with one UPDATE a second, on a thread and a connection of its own. A busy runtime
//! or a busy pool therefore cannot lose them. Expiry in the database uses the clock of the database. This process
//! gives a lease up by its local monotonic clock.
//!
//! # Row locks
//! - A write under a claim locks the lease's row `FOR KEY SHARE`.
//! - Renewing a lease takes `FOR NO KEY UPDATE`, which is compatible with `FOR KEY SHARE`.
//! - Taking a lease over takes `FOR UPDATE`, which is not (`PostgreSQL`, "Explicit Locking", row-level locks).

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use tokio::sync::{Notify, oneshot, watch};
use tokio_util::task::AbortOnDropHandle;

use crate::claim::{LeaseTimes, Wanted};
use crate::database::Database;
use crate::renewal::Renewal;
use crate::{Store, StoreError, Terms, pool};

/// Separator between the name of a holder and its nonce.
const NONCE: char = '#';

/// Interval between pings through the pool, for leases that are held only while the pool works.
const PING_INTERVAL: Duration = Duration::from_secs(2);

/// Acquires and renews leases for one process.
#[derive(Debug)]
pub struct Keeper {
    wanted: Wanted,
    /// Notified when a lease becomes wanted that was not wanted before.
    more: Arc<Notify>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
    /// Task that pings the database through the pool.
    ping: Option<AbortOnDropHandle<()>>,
}

impl Keeper {
    /// Starts the thread that renews leases, with `holder` and a nonce as the name of the holder.
    ///
    /// # Guarantees
    /// Two keepers never share an epoch, whatever their names. Without the nonce, processes with a copied
    /// configuration would lead with the same claim. So would a Pod that was replaced while it still ran.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when the URL cannot be read, [`StoreError::Unavailable`] when the thread cannot be
    /// started.
    pub fn start(url: &str, holder: String, times: LeaseTimes) -> Result<Self, StoreError> {
        Self::start_thread(pool::options(url)?, &holder, times, None)
    }

    /// Starts a keeper that gives all leases back while `store` gets no answer from the database.
    ///
    /// The keeper gives them back even if its own connection still works: a process that cannot do its work must let
    /// another process do it. Call this function in the runtime in which the store is used.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the thread cannot be started.
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
        let notified = Arc::clone(&more);
        let renewal = Renewal::new(options, holder, times, Arc::clone(&wanted), pool);
        let thread = std::thread::Builder::new()
            .name("leases".to_owned())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .expect("a current-thread runtime needs nothing that can fail here");
                runtime.block_on(renewal.run(&notified, stopped));
            })
            .map_err(|error| StoreError::Unavailable(sqlx::Error::Io(error)))?;
        Ok(Self { wanted, more, stop: Some(stop), thread: Some(thread), ping: None })
    }

    /// Requests a lease from now on, and returns its terms.
    pub fn want(&self, lease: &str) -> Terms {
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = wanted.entry(lease.to_owned()).or_insert_with(|| {
            self.more.notify_one();
            watch::channel(None).0
        });
        Terms::new(sender.subscribe())
    }

    /// Stops renewing a lease. The lease then expires, and its watchers receive `None` at once.
    pub fn leave(&self, lease: &str) {
        if let Some(sender) = self.wanted.lock().unwrap_or_else(PoisonError::into_inner).remove(lease) {
            sender.send_replace(None);
        }
    }

    /// Releases all leases, so that other processes need not wait for their expiry, and ends the thread.
    pub async fn release(mut self) {
        self.stop.take();
        self.ping.take();
        if let Some(thread) = self.thread.take() {
            // The thread ends after at most one database call, which has a timeout.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}
