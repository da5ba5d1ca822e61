//! Hints that something changed, for stages of this process and of other processes.
//!
//! A hint only saves waiting; the rows contain the truth. A stage that missed hints reads everything again.
//!
//! A notification is a transaction that waits for the disk. A process without peers therefore sends only its sign of
//! life, an empty list.
//!
//! A process that receives the first notification of a peer sends [`Hint::Everything`], because the peer missed earlier
//! hints.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::CancellationToken;

use crate::exchange::{Exchange, ExchangeTimes};
use crate::hint::Hint;
use crate::peers::Peers;
use crate::{Store, StoreError};

/// Maximum number of hints kept for a slow subscriber.
///
/// A subscriber further behind receives a lag error and reads everything.
const BACKLOG: usize = 16 * 1024;
/// Maximum number of hints waiting to be sent to other processes.
///
/// When more are waiting, the other processes receive [`Hint::Everything`].
const OUTBOX: usize = 16 * 1024;

/// Sends hints to all processes, and subscribes to them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Hints {
    local: broadcast::Sender<Arc<Hint>>,
    outbox: mpsc::Sender<Arc<Hint>>,
    /// Whether hints did not fit into the outbox or could not be sent.
    ///
    /// `Exchange::tell` clears the flag when it sends [`Hint::Everything`] instead.
    missed: Arc<AtomicBool>,
}

impl Hints {
    /// Returns the hints of this process, and the task that exchanges them with other processes.
    ///
    /// The exchange uses the database of the store.
    pub fn new(store: Store, shutdown: CancellationToken) -> (Self, impl Future<Output = Result<(), StoreError>>) {
        Self::with_times(store, ExchangeTimes::default(), shutdown)
    }

    pub(crate) fn with_times(
        store: Store,
        times: ExchangeTimes,
        shutdown: CancellationToken,
    ) -> (Self, impl Future<Output = Result<(), StoreError>>) {
        let (local, _) = broadcast::channel(BACKLOG);
        let (outbox, waiting) = mpsc::channel(OUTBOX);
        let missed = Arc::new(AtomicBool::new(false));
        let exchange = Exchange {
            store,
            me: uuid::Uuid::new_v4().simple().to_string(),
            local: local.clone(),
            waiting,
            missed: Arc::clone(&missed),
            peers: Peers::default(),
            times,
        };
        (Self { local, outbox, missed }, exchange.run(shutdown))
    }

    /// Sends a hint to this process at once and to the other processes soon.
    pub fn send(&self, hint: Hint) {
        let hint = Arc::new(hint);
        // A missing subscriber is not an error: the stage does not run in this process.
        let _ = self.local.send(Arc::clone(&hint));
        if self.outbox.try_send(hint).is_err() {
            self.missed.store(true, Ordering::Relaxed);
        }
    }

    /// Returns a receiver of all hints from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Hint>> {
        self.local.subscribe()
    }
}
