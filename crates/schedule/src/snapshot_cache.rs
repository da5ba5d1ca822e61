//! The fleet as the last batch left it: batches that follow each other closely need not read it anew.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::fleet_snapshot::FleetSnapshot;

/// A snapshot is used for so long. Whatever is heard to have changed it ends it at once.
const AGE: Duration = Duration::from_millis(250);

/// A snapshot that was read, and what this stage, the only writer of what is reserved, has booked in it since.
#[derive(Debug, Default)]
pub(crate) struct SnapshotCache {
    /// Rises with everything that is heard.
    heard: AtomicU64,
    kept: Mutex<Option<CachedSnapshot>>,
    /// In the last that was read.
    clusters: AtomicUsize,
}

/// A snapshot, when it was read, and what had been heard before.
#[derive(Debug)]
pub(crate) struct CachedSnapshot<W = FleetSnapshot> {
    pub(crate) fleet: W,
    at: Instant,
    heard: u64,
}

impl<W> CachedSnapshot<W> {
    /// A snapshot that was read just now.
    pub(crate) fn now(fleet: W) -> Self {
        Self { fleet, at: Instant::now(), heard: 0 }
    }

    fn holds(&self, heard: u64) -> bool {
        self.heard == heard && self.at.elapsed() < AGE
    }
}

impl SnapshotCache {
    /// Something about the fleet changed: what was read before that holds no longer, also where it is in use just now.
    pub(crate) fn forget(&self) {
        self.heard.fetch_add(1, Ordering::SeqCst);
    }

    /// The snapshot as it was at some time after whatever was heard; read anew when it must be. It is taken: a batch that fails
    /// keeps nothing.
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

    /// How many clusters there were at the last reading.
    pub(crate) fn clusters(&self) -> usize {
        self.clusters.load(Ordering::Relaxed)
    }

    /// Keeps a snapshot for the next batch, with what was booked in it and is written.
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
