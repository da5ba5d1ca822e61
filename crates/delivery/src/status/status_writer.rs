//! Writes observed status to the database in batches that combine the changes of all members.
//!
//! The writer keeps only the latest status of each placement.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use runtime::batch_limiter::{BatchLimiter, DistinctKeys};
use store::{AppId, Claim, Hint, Hints, PlacementId, StatusRow, Store, StoreError};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Minimum interval between two batches; a batch after an idle time is written at once.
const GATHER: Duration = Duration::from_millis(8);
/// Minimum interval between two batches while changes of many applications keep coming.
const GATHER_MOST: Duration = Duration::from_millis(250);
/// Maximum number of rows in one statement.
const BATCH: usize = 500;
/// Maximum delay of a status change that cannot affect scheduling.
const PATIENCE: Duration = Duration::from_millis(400);
const RETRY: Duration = Duration::from_millis(500);
/// First pause of a single row that the database refused. Doubles each time the row is refused again.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);
/// Maximum pause of a refused row: a new status of the placement may be accepted meanwhile.
const REFUSED_PAUSE_MAX: Duration = Duration::from_mins(1);

/// Origin of status rows: one session with one member.
#[derive(Debug)]
pub(crate) struct StatusSource {
    claim: Claim,
    /// Cancelled when a write was refused because the claim no longer holds.
    fenced: CancellationToken,
}

impl StatusSource {
    pub(crate) fn new(claim: Claim) -> Arc<Self> {
        Arc::new(Self { claim, fenced: CancellationToken::new() })
    }

    /// Completes when a write was refused because the claim no longer holds.
    pub(crate) async fn fenced(&self) -> StoreError {
        self.fenced.cancelled().await;
        StoreError::Fenced { lease: self.claim.lease.clone(), epoch: self.claim.epoch }
    }
}

#[derive(Debug)]
struct Observed {
    app: AppId,
    source: Arc<StatusSource>,
    status: StatusRow,
}

/// A row that the database refused, and the time of its next attempt.
#[derive(Debug)]
struct Parked {
    source: Weak<StatusSource>,
    due: Instant,
    pause: Duration,
}

/// Status waiting to be written; at most one row per placement.
#[derive(Debug, Default)]
pub struct StatusWriter {
    waiting: Mutex<HashMap<PlacementId, Observed>>,
    /// Rows that the database refused when written alone.
    ///
    /// Each is written alone, once it is due, until a write succeeds.
    parked: Mutex<HashMap<PlacementId, Parked>>,
    wake: Notify,
    patient: Notify,
}

/// Whether a status change can affect scheduling.
///
/// Pods that exist and are not ready yet do not affect it, for example.
fn is_urgent(before: &StatusRow, now: &StatusRow) -> bool {
    before.state != now.state
        || before.available != now.available
        || before.settled != now.settled
        || before.stale != now.stale
        || before.found_epoch != now.found_epoch
        || before.applied_revision != now.applied_revision
        || before.observed_epoch != now.observed_epoch && now.available > 0
}

impl StatusWriter {
    fn waiting(&self) -> MutexGuard<'_, HashMap<PlacementId, Observed>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues the status of a placement. `before` is the status queued last.
    pub(crate) fn push(&self, source: &Arc<StatusSource>, app: AppId, before: &StatusRow, status: StatusRow) {
        let urgent = is_urgent(before, &status);
        self.waiting().insert(status.placement, Observed { app, source: Arc::clone(source), status });
        if urgent { self.wake.notify_one() } else { self.patient.notify_one() }
    }

    /// Drops the unwritten status of a session that ended. The next session observes the objects anew.
    pub(crate) fn leave(&self, source: &Arc<StatusSource>) {
        self.waiting().retain(|_, observed| !Arc::ptr_eq(&observed.source, source));
    }

    fn parked(&self) -> MutexGuard<'_, HashMap<PlacementId, Parked>> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes up to a batch of rows that wait, ordered by placement.
    ///
    /// All writers lock rows in that order.
    fn take(&self) -> Vec<Observed> {
        let (mut waiting, parked) = (self.waiting(), self.parked());
        let mut ids: Vec<PlacementId> =
            waiting.keys().filter(|id| !parked.contains_key(id)).take(BATCH + 1).copied().collect();
        if ids.len() > BATCH {
            ids.truncate(BATCH);
            self.wake.notify_one();
        }
        ids.sort_unstable();
        ids.iter().filter_map(|id| waiting.remove(id)).collect()
    }

    /// Takes a parked row that is due.
    fn take_parked(&self, now: Instant) -> Option<Observed> {
        let mut waiting = self.waiting();
        let mut parked = self.parked();
        // Drops entries of ended sessions, whose rows are no longer queued.
        parked.retain(|_, row| row.source.strong_count() > 0);
        let due =
            parked.iter().filter(|(id, row)| row.due <= now && waiting.contains_key(id)).map(|(id, _)| *id).min()?;
        waiting.remove(&due)
    }

    /// Time when the next parked row with a queued status is due.
    fn parked_until(&self) -> Option<Instant> {
        let (waiting, parked) = (self.waiting(), self.parked());
        parked.iter().filter(|(id, _)| waiting.contains_key(id)).map(|(_, row)| row.due).min()
    }

    /// Parks a row that was refused alone. Each further refusal doubles its pause.
    fn park(&self, observed: &Observed) {
        let id = observed.status.placement;
        let mut parked = self.parked();
        let pause = parked.get(&id).map_or(REFUSED_PAUSE, |row| (row.pause * 2).min(REFUSED_PAUSE_MAX));
        let source = Arc::downgrade(&observed.source);
        parked.insert(id, Parked { source, due: Instant::now() + pause, pause });
    }

    /// Queues rows again that could not be written, unless a newer status of the placement is queued.
    fn give_back(&self, rows: Vec<Observed>) {
        let mut waiting = self.waiting();
        for observed in rows {
            waiting.entry(observed.status.placement).or_insert(observed);
        }
    }

    /// Writes queued status until shutdown.
    pub(crate) async fn run(&self, store: &Store, hints: &Hints, shutdown: CancellationToken) {
        let (mut pace, mut crowd) = (BatchLimiter::new(GATHER, GATHER_MOST), DistinctKeys::default());
        loop {
            let patient = async {
                self.patient.notified().await;
                tokio::time::sleep(PATIENCE).await;
            };
            let due = async {
                match self.parked_until() {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.wake.notified() => {}
                () = patient => {}
                () = due => {}
            }
            pace.ready().await;
            if let Some(row) = self.take_parked(Instant::now()) {
                self.write(store, hints, vec![row]).await;
            }
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

    /// Writes rows and sends hints about them.
    ///
    /// Returns false when the database is not able to write now. The rows are then queued again.
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
                    // The member carries a fence above that of the row. Only a decision raises the row, and no other
                    // event triggers one.
                    hints.send(if is_outrun { Hint::Decide(app) } else { Hint::Observed(app) });
                }
                self.parked().retain(|id, _| !rows.iter().any(|observed| observed.status.placement == *id));
                true
            }
            // A refused row must not block the others: the batch is split to isolate it.
            Err(StoreError::Refused(_)) if rows.len() > 1 => {
                let second = rows.split_off(rows.len() / 2);
                let first = Box::pin(self.write(store, hints, rows)).await;
                Box::pin(self.write(store, hints, second)).await && first
            }
            Err(error @ StoreError::Refused(_)) => {
                for observed in &rows {
                    self.park(observed);
                    tracing::warn!(
                        error = vocabulary::chain(&error),
                        placement = i64::from(observed.status.placement),
                        "status of an object was refused; it waits by itself and is tried again"
                    );
                }
                self.give_back(rows);
                true
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
    use std::collections::BTreeMap;

    use jiff::Timestamp;
    use store::ObjectState;

    use super::*;
    use crate::stored_rows::StoredRows;

    #[tokio::test]
    async fn a_row_the_database_refuses_waits_alone_and_holds_up_no_other() {
        let clusters = ["a", "b", "c", "d", "e"];
        let rows = StoredRows::begin(&clusters).await;
        // The database accepts anything a member reports. A constraint of the schema causes the refusal here.
        let rule = "alter table placement_status add check (replicas <> 13)";
        rows.bed.postgres.query(rule).unwrap();
        let (hints, _exchange) = Hints::new(rows.store.clone(), CancellationToken::new());
        let status_writer = StatusWriter::default();
        let mut sources = BTreeMap::new();
        for cluster in clusters {
            sources.insert(cluster, StatusSource::new(rows.claim(cluster).await));
        }
        let bad = rows.placements["c"];
        let push = |cluster: &str, replicas: i32| {
            let before = StatusRow::unknown(rows.placements[cluster], Timestamp::now());
            let now = StatusRow { state: ObjectState::Applied, replicas, ..before.clone() };
            status_writer.push(&sources[cluster], 1.into(), &before, now);
        };
        for cluster in clusters {
            push(cluster, if cluster == "c" { 13 } else { 1 });
        }
        let mut received = hints.subscribe();

        let taken = status_writer.take();
        assert!(taken.is_sorted_by_key(|observed| observed.status.placement), "rows are locked in one order");
        assert!(status_writer.write(&rows.store, &hints, taken).await, "the others need no pause");
        let written = || {
            let query = "select coalesce(string_agg(p.cluster, ' ' order by p.cluster), '') from placement p join placement_status s on s.placement = p.id";
            rows.bed.postgres.query(query).unwrap()
        };
        assert_eq!(written(), "a b d e");
        assert!(
            matches!(received.try_recv().as_deref(), Ok(Hint::Observed(app)) if *app == AppId::from(1)),
            "those that were written are told of"
        );

        // The refused row is left out of later batches, also with new content. Its attempts become less frequent.
        push("c", 13);
        push("a", 2);
        let taken: Vec<PlacementId> = status_writer.take().iter().map(|observed| observed.status.placement).collect();
        assert_eq!(taken, [rows.placements["a"]]);
        for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
            let pause = Duration::from_secs(pause);
            let due = status_writer.parked_until().unwrap();
            assert!(status_writer.take_parked(due - Duration::from_millis(1)).is_none());
            let row = status_writer.take_parked(due).unwrap();
            assert_eq!((row.status.placement, status_writer.parked()[&bad].pause), (bad, pause));
            assert!(status_writer.write(&rows.store, &hints, vec![row]).await);
        }
        push("c", 3);
        let row = status_writer.take_parked(status_writer.parked_until().unwrap()).unwrap();
        assert!(status_writer.write(&rows.store, &hints, vec![row]).await);
        assert_eq!(written(), "a b c d e");
        assert!(status_writer.parked().is_empty(), "it travels with the others again");

        // When the database is slow, the writer does not retry row by row.
        for cluster in clusters {
            push(cluster, 5);
        }
        let taken = status_writer.take();
        let slow = "create function slow() returns trigger language plpgsql as 'begin raise exception $x$slow$x$ using errcode = $x$57014$x$; end';
                    create trigger slow before insert or update on placement_status for each row execute function slow()";
        rows.bed.postgres.query(slow).unwrap();
        assert!(!status_writer.write(&rows.store, &hints, taken).await, "all wait for the database");
        assert_eq!((status_writer.take().len(), status_writer.parked().len()), (clusters.len(), 0));
        drop(sources);
        rows.end().await;
    }

    #[tokio::test]
    async fn text_with_a_zero_in_it_is_written_without() {
        let rows = StoredRows::begin(&["a"]).await;
        let (hints, _exchange) = Hints::new(rows.store.clone(), CancellationToken::new());
        let status_writer = StatusWriter::default();
        let source = StatusSource::new(rows.claim("a").await);
        let before = StatusRow::unknown(rows.placements["a"], Timestamp::now());
        let drift = vec!["metadata.labels.a\0b".to_owned()];
        status_writer.push(&source, 1.into(), &before, StatusRow { drift, ..before.clone() });
        assert!(status_writer.write(&rows.store, &hints, status_writer.take()).await);
        let written = rows.bed.postgres.query("select drift[1] from placement_status").unwrap();
        assert_eq!(written, "metadata.labels.ab");
        assert!(status_writer.parked().is_empty());
        rows.end().await;
    }
}
