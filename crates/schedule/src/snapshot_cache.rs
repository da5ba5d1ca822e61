//! Caches the fleet snapshot for batches that follow each other closely.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::fleet_snapshot::FleetSnapshot;

/// Maximum age of a cached snapshot. A hint that the fleet changed invalidates it at once.
const AGE: Duration = Duration::from_millis(250);

/// The last fleet snapshot, including the reservations that this stage wrote since it was read.
///
/// This stage is the only writer of reservations, so its own writes keep the snapshot current.
#[derive(Debug, Default)]
pub(crate) struct SnapshotCache {
    /// Counter that rises with every call of [`forget`](Self::forget).
    heard: AtomicU64,
    kept: Mutex<Option<CachedSnapshot>>,
    /// Number of clusters in the last snapshot read.
    clusters: AtomicUsize,
}

/// A snapshot, the time of its read, and the value of `SnapshotCache::heard` before the read.
#[derive(Debug)]
pub(crate) struct CachedSnapshot<W = FleetSnapshot> {
    pub(crate) fleet: W,
    at: Instant,
    heard: u64,
}

impl<W> CachedSnapshot<W> {
    /// Creates a snapshot that was read just now.
    pub(crate) fn now(fleet: W) -> Self {
        Self { fleet, at: Instant::now(), heard: 0 }
    }

    fn holds(&self, heard: u64) -> bool {
        self.heard == heard && self.at.elapsed() < AGE
    }
}

impl SnapshotCache {
    /// Invalidates every snapshot read before this call, including one that a batch is using.
    pub(crate) fn forget(&self) {
        self.heard.fetch_add(1, Ordering::SeqCst);
    }

    /// Takes the cached snapshot, or reads a new one when the cached one is invalid or too old.
    ///
    /// The cache is empty afterwards, so a batch that fails caches nothing.
    pub(crate) async fn take<E>(
        &self,
        read: impl AsyncFnOnce() -> Result<FleetSnapshot, E>,
    ) -> Result<CachedSnapshot, E> {
        let heard = self.heard.load(Ordering::SeqCst);
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(kept) = kept.filter(|kept| kept.holds(heard)) {
            return Ok(kept);
        }
        let at = Instant::now();
        let fleet = read().await?;
        self.clusters.store(fleet.topology.clusters.len(), Ordering::Relaxed);
        Ok(CachedSnapshot { fleet, at, heard })
    }

    /// Returns the number of clusters in the last snapshot read.
    pub(crate) fn clusters(&self) -> usize {
        self.clusters.load(Ordering::Relaxed)
    }

    /// Caches a snapshot for the next batch, with the reservations that were written.
    pub(crate) fn keep(&self, snapshot: CachedSnapshot) {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(snapshot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn snapshot_is_used_until_a_hint_or_its_age_ends_it() {
        let kept = SnapshotCache::default();
        let read = || CachedSnapshot { fleet: (), at: Instant::now(), heard: kept.heard.load(Ordering::SeqCst) };
        let heard = || kept.heard.load(Ordering::SeqCst);
        let snapshot = read();
        assert!(snapshot.holds(heard()));
        kept.forget();
        assert!(!snapshot.holds(heard()), "what was read before it was heard");
        let snapshot = read();
        tokio::time::advance(AGE).await;
        assert!(!snapshot.holds(heard()));
    }
}
