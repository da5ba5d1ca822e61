//! Schedule: the only writer of placement. Reads applications, directives, capacity, the previous placement and what
//! was observed; decides with the pure functions of `domain`; writes each batch of decisions in one transaction.
//!
//! Phases, in order: [`gather`] reads, [`plan`] decides, [`apply`] writes.

mod apply;
mod gather;
mod metrics;
mod objects;
mod plan;
mod record;
mod world;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use domain::stored_revision::StoredRevision;
use jiff::{SignedDuration, Timestamp};
use runtime::queue::Queue;
use store::seal::EnvelopeKey;
use store::{AppId, Claim, Hint, Hints, ParsedRevisions, Store, StoreError};
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

pub use metrics::ScheduleMetrics;

/// Applications decided in one transaction.
const BATCH: usize = 64;

/// What the stage works with.
#[derive(Debug)]
pub struct Schedule {
    store: Store,
    hints: Hints,
    claim: Claim,
    revisions: ParsedRevisions<StoredRevision>,
    queue: Queue<AppId>,
    metrics: ScheduleMetrics,
    times: ScheduleTimes,
}

/// Timers of the stage.
#[derive(Debug, Clone, Copy)]
pub struct ScheduleTimes {
    /// When everything is looked at again although nothing was heard.
    pub look_again: Duration,
    /// What was last confirmed longer ago is Unknown.
    pub stale_after: SignedDuration,
    /// How long a first decision waits for members that were well when they were last seen, long ago: after an
    /// outage of all operators one member answers before another, and that is no reason to prefer it.
    pub settle: Duration,
}

impl Schedule {
    /// The stage, for as long as the claim holds.
    pub fn new(
        store: Store,
        key: Arc<EnvelopeKey>,
        hints: Hints,
        claim: Claim,
        metrics: ScheduleMetrics,
        times: ScheduleTimes,
    ) -> Self {
        let revisions = ParsedRevisions::new(store.clone(), key);
        Self { store, hints, claim, revisions, queue: Queue::default(), metrics, times }
    }

    /// Decides whatever needs it until shutdown.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] when the claim no longer holds. Other failures are repeated.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), StoreError> {
        let listen = self.listen(&shutdown);
        let work = self.work(&shutdown);
        tokio::pin!(listen, work);
        tokio::select! {
            outcome = &mut listen => outcome,
            outcome = &mut work => outcome,
        }
    }

    async fn listen(&self, shutdown: &CancellationToken) -> Result<(), StoreError> {
        let mut hints = self.hints.subscribe();
        let mut again = tokio::time::interval(self.times.look_again);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                _ = again.tick() => self.everything().await,
                hint = hints.recv() => match hint.as_deref() {
                    Ok(Hint::Decide(app) | Hint::Observed(app)) => self.queue.push(*app),
                    Ok(Hint::Topology | Hint::Everything) | Err(RecvError::Lagged(_)) => self.everything().await,
                    Ok(Hint::Capacity(_)) => self.waiting_for_capacity().await,
                    Ok(_) => {}
                    Err(RecvError::Closed) => return Ok(()),
                },
            }
        }
    }

    async fn everything(&self) {
        match self.store.application_keys().await {
            Ok(keys) => self.queue.extend(keys.into_iter().map(|(id, _)| id)),
            Err(error) => tracing::warn!(%error, "applications were not read; the next round will"),
        }
    }

    /// New capacity wakes only those that found no place.
    async fn waiting_for_capacity(&self) {
        match self.store.application_short().await {
            Ok(ids) => self.queue.extend(ids),
            Err(error) => tracing::warn!(%error, "applications were not read; the next round will"),
        }
    }

    /// Completes when no member is stale that was well, or after [`ScheduleTimes::settle`].
    async fn fleet_is_seen(&self) {
        let mut hints = self.hints.subscribe();
        let seen = async {
            loop {
                match self.store.cluster_list().await {
                    Ok(rows) => {
                        let now = Timestamp::now();
                        let stale = |status| world::is_stale(status, now, self.times.stale_after);
                        if !rows.iter().filter_map(|row| row.status.as_ref()).any(stale) {
                            return;
                        }
                    }
                    Err(error) => tracing::warn!(%error, "clusters were not read"),
                }
                while !matches!(
                    hints.recv().await.as_deref(),
                    Ok(Hint::Topology | Hint::Capacity(_) | Hint::Everything) | Err(_)
                ) {}
            }
        };
        if tokio::time::timeout(self.times.settle, seen).await.is_err() {
            tracing::warn!("members that were well have not been seen again; they count as Unknown");
        }
    }

    async fn work(&self, shutdown: &CancellationToken) -> Result<(), StoreError> {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = self.fleet_is_seen() => {}
        }
        loop {
            let batch = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                batch = self.queue.take(BATCH) => batch,
            };
            self.metrics.depth.set(self.queue.depth() as i64);
            let begun = std::time::Instant::now();
            match self.decide(&batch).await {
                Ok(again) => {
                    for app in &batch {
                        self.queue.finish(app);
                    }
                    self.queue.extend(again);
                    self.metrics.batch_seconds.observe(begun.elapsed().as_secs_f64());
                }
                Err(error @ StoreError::Fenced { .. }) => return Err(error),
                Err(error) => {
                    self.metrics.failed.inc();
                    tracing::warn!(error = %chain(&error), applications = batch.len(), "decisions failed; they will be repeated");
                    for app in &batch {
                        self.queue.fail(app);
                    }
                }
            }
        }
    }

    /// Decides a batch. Returns applications that are to be looked at again at once.
    async fn decide(&self, batch: &[AppId]) -> Result<BTreeSet<AppId>, StoreError> {
        let gathered = gather::gather(self, batch).await?;
        let plans = plan::plan_batch(gathered);
        apply::apply(self, plans).await
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
