//! Status on its way to the database: coalesced by placement, written in batches.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use runtime::pace::{Crowd, Pace};
use store::{AppId, Claim, Hint, Hints, PlacementId, StatusRow, Store, StoreError};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Changes that follow each other this fast travel together; the first after a rest travels alone.
const GATHER: Duration = Duration::from_millis(8);
/// The same while there is no end of them.
const GATHER_MOST: Duration = Duration::from_millis(250);
/// Rows of one statement.
const BATCH: usize = 500;
/// What changes no decision waits this long for something that does.
const PATIENCE: Duration = Duration::from_millis(400);
const RETRY: Duration = Duration::from_millis(500);

/// Status waiting to be written; at most one row per placement.
#[derive(Debug, Default)]
pub(crate) struct Sink {
    waiting: Mutex<HashMap<PlacementId, (AppId, StatusRow)>>,
    wake: Notify,
    patient: Notify,
}

/// Whether decisions may depend on a change: pods that are there and not ready yet, for example, decide nothing.
fn is_urgent(before: &StatusRow, now: &StatusRow) -> bool {
    before.state != now.state
        || before.available != now.available
        || before.settled != now.settled
        || before.applied_revision != now.applied_revision
        || before.observed_epoch != now.observed_epoch && now.available > 0
}

impl Sink {
    /// Takes the status of a placement; `before` is what was taken last.
    pub(crate) fn push(&self, app: AppId, before: &StatusRow, status: StatusRow) {
        let urgent = is_urgent(before, &status);
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(status.placement, (app, status));
        if urgent { self.wake.notify_one() } else { self.patient.notify_one() }
    }

    fn take(&self) -> Vec<(AppId, StatusRow)> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() <= BATCH {
            return std::mem::take(&mut *waiting).into_values().collect();
        }
        let ids: Vec<PlacementId> = waiting.keys().take(BATCH).copied().collect();
        self.wake.notify_one();
        ids.iter().filter_map(|id| waiting.remove(id)).collect()
    }

    /// Gives back what could not be written, unless something newer waits.
    fn give_back(&self, rows: Vec<(AppId, StatusRow)>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for (app, status) in rows {
            waiting.entry(status.placement).or_insert((app, status));
        }
        self.wake.notify_one();
    }

    /// Writes until shutdown.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] when the lease is lost.
    pub(crate) async fn run(
        &self,
        store: &Store,
        claim: &Claim,
        hints: &Hints,
        shutdown: CancellationToken,
    ) -> Result<(), StoreError> {
        let (mut pace, mut crowd) = (Pace::new(GATHER, GATHER_MOST), Crowd::default());
        loop {
            let patient = async {
                self.patient.notified().await;
                tokio::time::sleep(PATIENCE).await;
            };
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = self.wake.notified() => {}
                () = patient => {}
            }
            pace.ready().await;
            let rows = self.take();
            if rows.is_empty() {
                continue;
            }
            pace.begin(crowd.carry(rows.iter().map(|(app, _)| *app)));
            let status: Vec<StatusRow> = rows.iter().map(|(_, status)| status.clone()).collect();
            match store.status_set(claim, &status).await {
                Ok(()) => {
                    let mut apps: Vec<AppId> = rows.iter().map(|(app, _)| *app).collect();
                    apps.sort_unstable();
                    apps.dedup();
                    for app in apps {
                        hints.send(Hint::Observed(app));
                    }
                }
                Err(error @ StoreError::Fenced { .. }) => return Err(error),
                Err(error) => {
                    tracing::warn!(
                        error = vocabulary::chain(&error),
                        rows = rows.len(),
                        "status was not written; it will be"
                    );
                    self.give_back(rows);
                    tokio::select! { () = shutdown.cancelled() => return Ok(()), () = tokio::time::sleep(RETRY) => {} }
                }
            }
        }
    }
}
