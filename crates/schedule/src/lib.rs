//! Schedule stage: the only writer of placement.
//!
//! The stage reads applications, directives, capacity, the previous placement and observed status. It decides with the
//! pure functions of `domain` and writes each batch of decisions in one transaction.
//!
//! Phases, in order: [`gather`] reads, [`plan`] decides, [`guard`] withholds deletes above a limit, [`apply`] writes.

mod app_plan;
mod apply;
mod cell_inputs;
mod cells;
mod decide;
mod decide_batches;
mod deletes;
mod directives;
mod families;
mod fleet_snapshot;
mod floors;
mod gather;
mod guard;
mod held_cells;
mod identity;
mod matching;
mod metrics;
mod names;
mod numbers;
mod objects;
mod placement_rows;
mod plan;
mod releases;
mod replacements;
mod reservations;
mod rows;
mod scheduler;
mod silent_clusters;
mod snapshot_cache;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::stored_revision::StoredRevision;
use jiff::{SignedDuration, Timestamp};
use runtime::batch_limiter::{BatchLimiter, DistinctKeys};
use runtime::contain::{Panicked, contain};
use runtime::queue::Queue;
use silent_clusters::{next_failover, restart_clock_after_breaker_closed, silences};
use snapshot_cache::SnapshotCache;
use store::{AppId, Claim, DeleteWindow, Hint, Hints, ParsedRevisions, Store, StoreError};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use vocabulary::{ContentHash, chain};

pub use decide::{Decisions, decide};
pub use fleet_snapshot::FleetRows;
pub use gather::AppRows;
pub use metrics::ScheduleMetrics;
pub use placement_rows::settled_verdict;
pub use scheduler::Scheduler;

/// Maximum number of applications decided in one transaction.
const BATCH: usize = 64;
/// Maximum number of places in one batch, counted as applications times clusters.
///
/// An application may have a place in every cluster, so a large fleet gets smaller batches.
const PLACES: usize = 4096;
/// Maximum number of observed applications checked with one query.
const SIFTED: usize = 256;
/// Minimum interval between two checks of one application because of observations.
///
/// Reports that several members send at about the same time are checked together. The first report after a quiet period
/// is checked at once.
const PACE: Duration = Duration::from_millis(10);
/// Minimum interval between two batches, of decisions or of checks of observations.
const GATHER: Duration = Duration::from_millis(2);
/// Maximum interval between two batches of decisions while many applications keep arriving.
///
/// A longer interval gives larger batches.
const GATHER_MOST: Duration = Duration::from_millis(250);
/// Maximum interval between two checks of observations; few observations affect a decision.
const FILTER_DELAY_MAX: Duration = Duration::from_millis(250);
/// Minimum interval between two reads of all applications.
///
/// Many members that change at once cause one read. Reads of applications that wait for capacity or names use the same
/// limits.
const EVERYTHING: Duration = Duration::from_millis(10);
/// Maximum interval between two reads of all applications while the causes keep arriving.
const EVERYTHING_MOST: Duration = Duration::from_millis(500);
/// Minimum interval between two writes of revisions that became ready.
const REMEMBERED: Duration = Duration::from_secs(1);

/// The schedule stage: decides the placement of applications and writes the decisions.
#[derive(Debug)]
pub struct Schedule {
    store: Store,
    hints: Hints,
    claim: Claim,
    revisions: Arc<ParsedRevisions<StoredRevision>>,
    snapshot: SnapshotCache,
    queue: Queue<AppId>,
    /// Applications with new observations; the few that need a decision are moved to `queue`.
    observed: Queue<AppId>,
    /// Revision of each application that this process has stored as ready.
    ready: Mutex<HashMap<AppId, ContentHash>>,
    metrics: ScheduleMetrics,
    times: ScheduleTimes,
}

/// Outcome of one batch.
struct BatchOutcome {
    /// Applications to decide again at once.
    again: BTreeSet<AppId>,
    /// Applications to retry after a backoff.
    failed: BTreeSet<AppId>,
}

/// Intervals and timeouts of the stage.
#[derive(Debug, Clone, Copy)]
pub struct ScheduleTimes {
    /// Maximum interval between two decisions about all applications, also when no hint arrives.
    pub look_again: Duration,
    /// Maximum age of a cluster status. An older status counts as Unknown.
    pub stale_after: SignedDuration,
    /// Timeout for members to be seen again before the first decisions.
    ///
    /// The stage waits for members that were healthy when last seen, but whose status is stale. After an outage of all
    /// operators one member answers before another, and that order is no reason to prefer the first.
    pub settle: Duration,
    /// Length of the sliding window in which the mass-delete guard counts deletes.
    pub delete_window: SignedDuration,
}

impl Schedule {
    /// Creates the stage, which works as long as `claim` holds.
    pub fn new(
        store: Store,
        revisions: Arc<ParsedRevisions<StoredRevision>>,
        hints: Hints,
        claim: Claim,
        metrics: ScheduleMetrics,
        times: ScheduleTimes,
    ) -> Self {
        Self {
            store,
            hints,
            claim,
            revisions,
            snapshot: SnapshotCache::default(),
            queue: Queue::default(),
            observed: Queue::default(),
            ready: Mutex::default(),
            metrics,
            times,
        }
    }

    /// Decides applications until shutdown.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] when the claim no longer holds. The stage retries after other failures.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), StoreError> {
        let listen = self.listen(&shutdown);
        let filter_observations = self.filter_observations(&shutdown);
        let work = self.work(&shutdown);
        tokio::pin!(listen, filter_observations, work);
        tokio::select! {
            outcome = &mut listen => outcome,
            () = &mut filter_observations => Ok(()),
            outcome = &mut work => outcome,
        }
    }

    async fn listen(&self, shutdown: &CancellationToken) -> Result<(), StoreError> {
        let mut hints = self.hints.subscribe();
        let mut again = tokio::time::interval(self.times.look_again);
        // Time at which a silent cluster reaches a failover time. Computed from rows, so a restart does not lose it.
        let mut failover: Option<Instant> = None;
        // Time at which the next directive ends by itself.
        let mut directive_end: Option<Instant> = None;
        let (mut ends, mut directives_changed) = (BatchLimiter::new(EVERYTHING, EVERYTHING_MOST), false);
        let (mut everything, mut wanted) = (BatchLimiter::new(EVERYTHING, EVERYTHING_MOST), false);
        // Members report changes of their pods all the time.
        let (mut capacity, mut freed) = (BatchLimiter::new(EVERYTHING, EVERYTHING_MOST), false);
        let (mut names, mut vacated) = (BatchLimiter::new(EVERYTHING, EVERYTHING_MOST), false);
        let mut observed: HashMap<AppId, Instant> = HashMap::new();
        loop {
            let failover_due = sleep_until(failover);
            let directive_ended = sleep_until(directive_end);
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = everything.ready(), if wanted => {
                    wanted = false;
                    everything.begin(true);
                    failover = self.everything().await;
                    directives_changed = true;
                }
                () = ends.ready(), if directives_changed => {
                    directives_changed = false;
                    ends.begin(true);
                    directive_end = self.next_directive_end().await;
                }
                () = capacity.ready(), if freed => {
                    freed = false;
                    capacity.begin(true);
                    self.waiting_for_capacity().await;
                }
                () = names.ready(), if vacated => {
                    vacated = false;
                    names.begin(true);
                    self.waiting_for_names().await;
                }
                _ = again.tick() => wanted = true,
                () = failover_due => (failover, wanted) = (None, true),
                () = directive_ended => (directive_end, wanted) = (None, true),
                hint = hints.recv() => match hint.as_deref() {
                    Ok(Hint::Decide(app)) => self.queue.push(*app),
                    Ok(Hint::Observed(app)) => {
                        observed.retain(|_, at| at.elapsed() < PACE);
                        if let Some(at) = observed.get(app) {
                            self.observed.push_after(*app, PACE.saturating_sub(at.elapsed()));
                        } else {
                            observed.insert(*app, Instant::now());
                            self.observed.push(*app);
                        }
                    }
                    Ok(Hint::Directives(Some(app))) => {
                        self.snapshot.forget();
                        self.queue.push(*app);
                        directives_changed = true;
                    }
                    Ok(Hint::Topology | Hint::Health(_) | Hint::Directives(None) | Hint::Everything)
                    | Err(RecvError::Lagged(_)) => {
                        self.snapshot.forget();
                        wanted = true;
                    }
                    Ok(Hint::Capacity(_)) => {
                        self.snapshot.forget();
                        freed = true;
                    }
                    Ok(Hint::Vacated) => vacated = true,
                    Ok(_) => {}
                    Err(RecvError::Closed) => return Ok(()),
                },
            }
        }
    }

    fn known_ready(&self) -> MutexGuard<'_, HashMap<AppId, ContentHash>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues every application. Returns when a silent cluster will next reach a failover time.
    async fn everything(&self) -> Option<Instant> {
        self.snapshot.forget();
        match self.store.application_keys().await {
            Ok(keys) => self.queue.extend(keys.into_iter().map(|(id, _)| id)),
            Err(error) => tracing::warn!(error = %chain(&error), "applications were not read; the next round will"),
        }
        match self.next_failover().await {
            Ok(seconds) => Some(Instant::now() + Duration::from_secs(seconds?)),
            Err(error) => {
                tracing::warn!(error = %chain(&error), "clusters were not read; the next round will");
                None
            }
        }
    }

    async fn next_failover(&self) -> Result<Option<u64>, StoreError> {
        let times = self.store.application_failover_times().await?;
        if times.is_empty() {
            return Ok(None);
        }
        let (clusters, breaker) = tokio::try_join!(self.store.cluster_list(), self.store.failover_breaker())?;
        let now = Timestamp::now();
        let mut silences = silences(&clusters, now, self.times.stale_after);
        restart_clock_after_breaker_closed(&mut silences, now, breaker);
        let left = next_failover(&silences, &times);
        Ok(left.and_then(|seconds| u64::try_from(seconds).ok()))
    }

    /// Returns when the next directive ends by itself.
    async fn next_directive_end(&self) -> Option<Instant> {
        match self.store.directive_next_end().await {
            Ok(left) => Instant::now().checked_add(left?),
            Err(error) => {
                tracing::warn!(error = %chain(&error), "ends of directives were not read; the next round reads them");
                None
            }
        }
    }

    /// Queues the applications that found no place for some replicas: only they need new capacity.
    async fn waiting_for_capacity(&self) {
        match self.store.application_short().await {
            Ok(ids) => self.queue.extend(ids),
            Err(error) => tracing::warn!(%error, "applications were not read; the next round will"),
        }
    }

    /// Queues the applications that wait for an object name: only they need a name that became free.
    async fn waiting_for_names(&self) {
        match self.store.application_blocked().await {
            Ok(ids) => self.queue.extend(ids),
            Err(error) => tracing::warn!(%error, "blocked applications were not read; the next round reads them"),
        }
    }

    /// Completes when no healthy member has a stale status, or after [`ScheduleTimes::settle`].
    async fn fleet_is_seen(&self) {
        let mut hints = self.hints.subscribe();
        let seen = async {
            loop {
                match self.store.cluster_list().await {
                    Ok(rows) => {
                        let now = Timestamp::now();
                        let stale = |status| fleet_snapshot::is_stale(status, now, self.times.stale_after);
                        if !rows.iter().filter_map(|row| row.status.as_ref()).any(stale) {
                            return;
                        }
                    }
                    Err(error) => tracing::warn!(%error, "clusters were not read"),
                }
                while !matches!(
                    hints.recv().await.as_deref(),
                    Ok(Hint::Topology | Hint::Health(_) | Hint::Seen(_) | Hint::Capacity(_) | Hint::Everything)
                        | Err(_)
                ) {}
            }
        };
        if tokio::time::timeout(self.times.settle, seen).await.is_err() {
            tracing::warn!("members that were well have not been seen again; they count as Unknown");
        }
    }
}

/// Completes at a time, or never without one.
async fn sleep_until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}
