//! Takes applications from the queues in batches and decides them.

use crate::{
    AppId, BATCH, BTreeSet, BatchLimiter, BatchOutcome, CancellationToken, DeleteWindow, DistinctKeys, Duration,
    FILTER_DELAY_MAX, GATHER, GATHER_MOST, Instant, PLACES, Panicked, REMEMBERED, SIFTED, Schedule, StoreError, apply,
    chain, contain, gather, guard, plan,
};

impl Schedule {
    /// Moves observed applications that need a decision to the queue; most observations change no decision.
    pub(crate) async fn filter_observations(&self, shutdown: &CancellationToken) {
        let begun = Instant::now();
        let (mut pace, mut crowd) = (BatchLimiter::new(GATHER, FILTER_DELAY_MAX), DistinctKeys::default());
        loop {
            let batch = tokio::select! {
                () = shutdown.cancelled() => return,
                batch = async { pace.ready().await; self.observed.take(SIFTED).await } => batch,
            };
            pace.begin(crowd.carry(batch.iter().copied()));
            match self.store.application_in_motion(&batch).await {
                Ok(found) => {
                    self.queue.extend(found.moving);
                    // No process waits until a ready revision is stored, so many applications are queued and stored
                    // together.
                    let past = begun.elapsed().as_millis() % REMEMBERED.as_millis();
                    let rest = REMEMBERED.saturating_sub(Duration::from_millis(past as u64));
                    found.arrived.into_iter().for_each(|app| self.queue.push_after(app, rest));
                    for app in &batch {
                        self.observed.finish(app);
                    }
                }
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "what was observed was not looked at; it will be");
                    for app in &batch {
                        self.observed.fail(app);
                    }
                }
            }
        }
    }

    pub(crate) async fn work(&self, shutdown: &CancellationToken) -> Result<(), StoreError> {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = self.fleet_is_seen() => {}
        }
        let (mut pace, mut crowd) = (BatchLimiter::new(GATHER, GATHER_MOST), DistinctKeys::default());
        loop {
            let batch = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                batch = async { pace.ready().await; self.queue.take(self.batch()).await } => batch,
            };
            pace.begin(crowd.carry(batch.iter().copied()));
            if batch.len() >= self.batch() {
                pace.hurry();
            }
            let begun = std::time::Instant::now();
            let decided = self.decide_apart(&batch).await?;
            for app in batch.iter().filter(|app| !decided.failed.contains(app)) {
                self.queue.finish(app);
            }
            for app in &decided.failed {
                self.queue.fail(app);
            }
            self.queue.extend(decided.again);
            self.metrics.batch_seconds.observe(begun.elapsed().as_secs_f64());
            self.metrics.depth.set(self.queue.depth() as i64);
        }
    }

    /// Returns the maximum number of applications in one batch, given the number of clusters.
    fn batch(&self) -> usize {
        (PLACES / self.snapshot.clusters().max(1)).clamp(1, BATCH)
    }

    /// Decides a batch, and isolates an application that cannot be read or written.
    ///
    /// Such an error splits the batch in halves until the application fails alone and the others are decided.
    ///
    /// # Errors
    /// Only [`StoreError::Fenced`].
    async fn decide_apart(&self, batch: &[AppId]) -> Result<BatchOutcome, StoreError> {
        // A panic in the decision about one application must not prevent decisions about the others.
        let decided =
            contain(self.decide(batch)).await.unwrap_or_else(|panicked| Err(StoreError::unreadable(panicked)));
        let error = match decided {
            Ok(again) => return Ok(BatchOutcome { again, failed: BTreeSet::new() }),
            Err(error @ StoreError::Fenced { .. }) => return Err(error),
            Err(error) => error,
        };
        if error.is_of_one() && batch.len() > 1 {
            let (first, second) = batch.split_at(batch.len() / 2);
            let mut decided = Box::pin(self.decide_apart(first)).await?;
            let more = Box::pin(self.decide_apart(second)).await?;
            decided.again.extend(more.again);
            decided.failed.extend(more.failed);
            return Ok(decided);
        }
        if let StoreError::Stale { what } = error {
            // Another scheduler wrote first. The fleet is read again before these applications are decided again.
            self.snapshot.forget();
            self.metrics.outdated.inc_by(batch.len() as u64);
            tracing::debug!(what, applications = batch.len(), "decisions were outdated; they are made again");
            return Ok(BatchOutcome { again: batch.iter().copied().collect(), failed: BTreeSet::new() });
        }
        self.metrics.failed.inc();
        tracing::warn!(error = %chain(&error), applications = ?batch, "decisions failed; they will be repeated");
        Ok(BatchOutcome { again: BTreeSet::new(), failed: batch.iter().copied().collect() })
    }

    /// Decides a batch. Returns the applications to decide again at once.
    async fn decide(&self, batch: &[AppId]) -> Result<BTreeSet<AppId>, StoreError> {
        let gathered = gather::gather(self, batch).await?;
        self.metrics.breaker_open.set(i64::from(gathered.snapshot.fleet.breaker_is_open()));
        // Planning a large batch takes long. On a blocking thread it delays neither probes nor lease renewals.
        let planned = tokio::task::spawn_blocking(move || plan::plan_batch(gathered)).await;
        let (plans, mut snapshot) = match planned {
            Ok(planned) => planned,
            Err(error) if error.is_panic() => return Err(StoreError::unreadable(Panicked::of(&*error.into_panic()))),
            Err(_) => return Ok(BTreeSet::new()),
        };
        let window = if plans.iter().all(|plan| plan.deletes.is_empty()) {
            DeleteWindow::default()
        } else {
            self.store.delete_window(self.times.delete_window).await?
        };
        let plans = guard::withhold_mass_deletes(plans, window);
        let applied = apply::apply(self, plans, &snapshot.fleet.booking_versions).await?;
        if applied.is_whole {
            snapshot.fleet.booked(&applied.booked);
            self.snapshot.keep(snapshot);
        }
        Ok(applied.again)
    }
}
