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
    /// When everything is looked at again although nothing was heard.
    look_again: Duration,
}

impl Schedule {
    /// The stage, for as long as the claim holds.
    pub fn new(
        store: Store,
        key: Arc<EnvelopeKey>,
        hints: Hints,
        claim: Claim,
        metrics: ScheduleMetrics,
        look_again: Duration,
    ) -> Self {
        let revisions = ParsedRevisions::new(store.clone(), key);
        Self { store, hints, claim, revisions, queue: Queue::default(), metrics, look_again }
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
        let mut again = tokio::time::interval(self.look_again);
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

    async fn work(&self, shutdown: &CancellationToken) -> Result<(), StoreError> {
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
