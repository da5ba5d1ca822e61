//! A process with an engine, which a test can end without its consent.

use std::sync::Arc;
use std::time::Duration;

use runtime::metrics::Metrics;
use store::{Hints, Keeper, LeaseTimes, Store, StoreError};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use vocabulary::OperationId;

use crate::engine::{Engine, lease};
use crate::kind::Kinds;
use crate::metrics::FlowMetrics;
use crate::times::FlowTimes;

/// Duration of leases in tests.
pub const LEASE: Duration = Duration::from_millis(300);

/// Intervals for tests: short, so that a test does not wait.
pub(super) const TIMES: FlowTimes = FlowTimes {
    look_again: Duration::from_millis(50),
    observe_interval_min: Duration::from_millis(5),
    progress_interval: Duration::from_secs(1),
    act_timeout: Duration::from_secs(10),
};

/// A process with an engine, a keeper of leases and hints of its own: it learns of others only from the database.
#[derive(Debug)]
pub struct Process {
    /// Connection of this process to the database.
    pub store: Store,
    /// Hints of this process.
    pub hints: Hints,
    /// Kinds that the process supports.
    pub kinds: Kinds,
    keeper: Arc<Keeper>,
    shutdown: CancellationToken,
    engine: AbortOnDropHandle<()>,
}

pub(super) fn keeper(url: &str, holder: &str) -> Result<Arc<Keeper>, StoreError> {
    Keeper::start(url, holder.to_owned(), LeaseTimes { lasts: LEASE, renew: LEASE / 5 }).map(Arc::new)
}

/// Returns hints that reach no other process.
pub(super) fn own_hints(store: &Store) -> Hints {
    Hints::new(store.clone(), CancellationToken::new()).0
}

impl Process {
    /// Starts a process whose engine runs operations of these kinds.
    ///
    /// # Errors
    /// [`StoreError`] when the URL cannot be read or a thread cannot be started.
    pub fn start(url: &str, holder: &str, kinds: Kinds) -> Result<Self, StoreError> {
        Ok(Self::over(&Store::open(url, 8)?, keeper(url, holder)?, kinds))
    }

    /// Starts a process that shares its connections with others, so that many are cheap.
    pub(super) fn over(store: &Store, keeper: Arc<Keeper>, kinds: Kinds) -> Self {
        let (store, hints, shutdown) = (store.clone(), own_hints(store), CancellationToken::new());
        let engine = Engine {
            store: store.clone(),
            hints: hints.clone(),
            keeper: Arc::clone(&keeper),
            kinds: kinds.clone(),
            metrics: FlowMetrics::new(&Metrics::default()),
            times: TIMES,
        };
        let run = engine.run(shutdown.clone());
        let engine = AbortOnDropHandle::new(tokio::spawn(async move {
            let Ok(()) = run.await;
        }));
        Self { store, hints, kinds, keeper, shutdown, engine }
    }

    /// Ends the process in the middle of what it does. Its leases of these operations expire.
    pub fn crash(self, operations: &[OperationId]) {
        drop(self.engine);
        for id in operations {
            self.keeper.leave(&lease(*id));
        }
    }

    /// Returns whether the engine still runs.
    pub fn is_running(&self) -> bool {
        !self.engine.is_finished()
    }

    /// Ends the process in order, and keeps what it shares with others.
    pub(super) async fn end(self, id: OperationId) {
        self.shutdown.cancel();
        let _ = self.engine.await;
        self.keeper.leave(&lease(id));
    }

    /// Ends the process in order.
    pub async fn stop(self) {
        self.shutdown.cancel();
        // An error means that the engine panicked, which `is_running` shows.
        let _ = self.engine.await;
        if let Some(keeper) = Arc::into_inner(self.keeper) {
            keeper.release().await;
        }
        self.store.close().await;
    }
}
