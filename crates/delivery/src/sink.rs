//! Status on its way to the database: coalesced by placement, written in batches, those of all members together.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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

/// Whose observations they are: one session with one member.
#[derive(Debug)]
pub(crate) struct Source {
    claim: Claim,
    /// Cancelled when a write was refused because the claim no longer holds.
    fenced: CancellationToken,
}

impl Source {
    pub(crate) fn new(claim: Claim) -> Arc<Self> {
        Arc::new(Self { claim, fenced: CancellationToken::new() })
    }

    /// Completes when the claim was found not to hold any more.
    pub(crate) async fn fenced(&self) -> StoreError {
        self.fenced.cancelled().await;
        StoreError::Fenced { lease: self.claim.lease.clone(), epoch: self.claim.epoch }
    }
}

#[derive(Debug)]
struct Observed {
    app: AppId,
    source: Arc<Source>,
    status: StatusRow,
}

/// Status waiting to be written; at most one row per placement.
#[derive(Debug, Default)]
pub struct Sink {
    waiting: Mutex<HashMap<PlacementId, Observed>>,
    wake: Notify,
    patient: Notify,
}

/// Whether decisions may depend on a change: pods that are there and not ready yet, for example, decide nothing.
fn is_urgent(before: &StatusRow, now: &StatusRow) -> bool {
    before.state != now.state
        || before.available != now.available
        || before.settled != now.settled
        || before.stale != now.stale
        || before.found_epoch != now.found_epoch
        || before.applied_revision != now.applied_revision
        || before.observed_epoch != now.observed_epoch && now.available > 0
}

impl Sink {
    fn waiting(&self) -> MutexGuard<'_, HashMap<PlacementId, Observed>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the status of a placement; `before` is what was taken last.
    pub(crate) fn push(&self, source: &Arc<Source>, app: AppId, before: &StatusRow, status: StatusRow) {
        let urgent = is_urgent(before, &status);
        self.waiting().insert(status.placement, Observed { app, source: Arc::clone(source), status });
        if urgent { self.wake.notify_one() } else { self.patient.notify_one() }
    }

    /// A session ended: what it observed and nobody has written is observed anew by the next.
    pub(crate) fn leave(&self, source: &Arc<Source>) {
        self.waiting().retain(|_, observed| !Arc::ptr_eq(&observed.source, source));
    }

    /// What waits, at most a batch of it, by placement: rows are locked in that order by everybody.
    fn take(&self) -> Vec<Observed> {
        let mut waiting = self.waiting();
        let mut taken: Vec<Observed> = if waiting.len() <= BATCH {
            std::mem::take(&mut *waiting).into_values().collect()
        } else {
            let ids: Vec<PlacementId> = waiting.keys().take(BATCH).copied().collect();
            self.wake.notify_one();
            ids.iter().filter_map(|id| waiting.remove(id)).collect()
        };
        taken.sort_unstable_by_key(|observed| observed.status.placement);
        taken
    }

    /// Gives back what could not be written, unless something newer waits.
    fn give_back(&self, rows: Vec<Observed>) {
        let mut waiting = self.waiting();
        for observed in rows {
            waiting.entry(observed.status.placement).or_insert(observed);
        }
    }

    /// Writes until shutdown.
    pub(crate) async fn run(&self, store: &Store, hints: &Hints, shutdown: CancellationToken) {
        let (mut pace, mut crowd) = (Pace::new(GATHER, GATHER_MOST), Crowd::default());
        loop {
            let patient = async {
                self.patient.notified().await;
                tokio::time::sleep(PATIENCE).await;
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.wake.notified() => {}
                () = patient => {}
            }
            pace.ready().await;
            let rows = self.take();
            if rows.is_empty() {
                continue;
            }
            pace.begin(crowd.carry(rows.iter().map(|observed| observed.app)));
            if rows.len() == BATCH {
                pace.hurry();
            }
            if !self.write(store, hints, rows).await {
                tokio::select! { () = shutdown.cancelled() => return, () = tokio::time::sleep(RETRY) => {} }
                self.wake.notify_one();
            }
        }
    }

    /// Writes rows and tells of them. False when some were given back.
    async fn write(&self, store: &Store, hints: &Hints, mut rows: Vec<Observed>) -> bool {
        let claimed: Vec<(&Claim, &StatusRow)> =
            rows.iter().map(|observed| (&observed.source.claim, &observed.status)).collect();
        match store.status_set(&claimed).await {
            Ok(lost) => {
                for observed in rows.iter().filter(|observed| lost.contains(&observed.source.claim)) {
                    observed.source.fenced.cancel();
                }
                let written = rows.iter().filter(|observed| !lost.contains(&observed.source.claim));
                let mut apps: BTreeMap<AppId, bool> = BTreeMap::new();
                for observed in written {
                    *apps.entry(observed.app).or_default() |= observed.status.found_epoch > 0;
                }
                for (app, is_outrun) in apps {
                    // A row that a fence in the member is above of is raised by a decision, and nothing else brings one about.
                    hints.send(if is_outrun { Hint::Decide(app) } else { Hint::Observed(app) });
                }
                true
            }
            // One that the database does not take must not hold up the others.
            Err(StoreError::Refused(_)) if rows.len() > 1 => {
                let second = rows.split_off(rows.len() / 2);
                let first = Box::pin(self.write(store, hints, rows)).await;
                Box::pin(self.write(store, hints, second)).await && first
            }
            Err(error) => {
                tracing::warn!(
                    error = vocabulary::chain(&error),
                    rows = rows.len(),
                    "status was not written; it will be"
                );
                self.give_back(rows);
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use store::ObjectState;

    use super::*;
    use crate::stored_rows::StoredRows;

    #[tokio::test]
    async fn a_row_the_database_refuses_holds_up_no_other_and_is_kept() {
        let clusters = ["a", "b", "c", "d", "e"];
        let rows = StoredRows::begin(&clusters).await;
        let (hints, _exchange) = Hints::new(rows.store.clone(), CancellationToken::new());
        let sink = Sink::default();
        for cluster in clusters {
            let source = Source::new(rows.claim(cluster).await);
            let before = StatusRow::unknown(rows.placements[cluster], Timestamp::now());
            let mut now = StatusRow { state: ObjectState::Applied, ..before.clone() };
            if cluster == "c" {
                // JSON in Postgres holds no such text.
                now.drift = vec!["metadata.labels.\0".to_owned()];
            }
            sink.push(&source, 1, &before, now);
        }
        let mut told = hints.subscribe();

        let taken = sink.take();
        assert!(taken.is_sorted_by_key(|observed| observed.status.placement), "rows are locked in one order");
        assert!(!sink.write(&rows.store, &hints, taken).await, "not all were written");
        let written = rows.bed.postgres.query(
            "select string_agg(p.cluster, ' ' order by p.cluster) from placement p join placement_status s on s.placement = p.id",
        );
        assert_eq!(written.unwrap(), "a b d e");
        assert!(matches!(told.try_recv().as_deref(), Ok(Hint::Observed(1))), "those that were written are told of");
        let kept: Vec<PlacementId> = sink.take().iter().map(|observed| observed.status.placement).collect();
        assert_eq!(kept, [rows.placements["c"]]);
        rows.end().await;
    }
}
