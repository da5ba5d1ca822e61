//! State of the whole fleet that every status needs, read once for many.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::stored_topology::{StoredCell, StoredCluster, topology_from_rows};
use domain::topology::Topology;
use jiff::{SignedDuration, Timestamp};
use runtime::shared_read::SharedRead;
use store::{ClusterRow, ReservationRow, Store, StoreError};
use tokio::time::Instant;
use vocabulary::Verdict;

/// Maximum age of a shared read of the fleet.
///
/// Status describes a past moment in any case, and names that moment.
const AGE: Duration = Duration::from_millis(500);

/// Maximum age of shared sums; longer than [`AGE`], because sums read all placements.
///
/// [`Fleet::changed`] ends it early, for example when objects left a cluster: a removal may wait for that.
const SUMS_AGE: Duration = Duration::from_secs(5);

/// Snapshot of the fleet.
#[derive(Debug)]
pub(super) struct FleetView {
    pub(super) topology: Topology,
    /// Time of the last sign of life of each cluster.
    pub(super) seen: BTreeMap<String, Timestamp>,
}

impl FleetView {
    /// Returns the clusters that were healthy when last seen, but were seen too long ago to count.
    pub(super) fn aged(&self, now: Timestamp, stale_after: SignedDuration) -> BTreeSet<String> {
        let old = |name: &str| self.seen.get(name).is_none_or(|seen| now.duration_since(*seen) > stale_after);
        let well = self.topology.clusters.iter().filter(|(_, facts)| facts.health == Verdict::Pass);
        well.map(|(name, _)| name.to_string()).filter(|name| old(name)).collect()
    }
}

/// Snapshot of sums over all Applications.
#[derive(Debug)]
pub(super) struct Sums {
    pub(super) apps: BTreeMap<String, i64>,
    pub(super) expiries: BTreeMap<String, Timestamp>,
    pub(super) reserved: Vec<ReservationRow>,
}

/// Shared snapshots of the fleet and the sums.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fleet {
    view: Arc<SharedRead<FleetView>>,
    sums: Arc<SharedRead<Sums>>,
    /// Time of the last reported change of the fleet.
    heard: Arc<Mutex<Option<Instant>>>,
}

impl Fleet {
    /// Discards all snapshots read before now, regardless of their age.
    ///
    /// No later event would trigger another read.
    pub(super) fn changed(&self) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn recent(&self, age: Duration) -> Instant {
        let now = Instant::now();
        let heard = *self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let young = now.checked_sub(age).unwrap_or(now);
        heard.map_or(young, |heard| heard.max(young))
    }

    pub(super) async fn view(&self, store: &Store) -> Result<Arc<FleetView>, StoreError> {
        self.view.since(self.recent(AGE), async || read(store).await).await
    }

    pub(super) async fn sums(&self, store: &Store) -> Result<Arc<Sums>, StoreError> {
        let read = async || {
            let (apps, lives, reserved) =
                tokio::try_join!(store.cluster_app_counts(), store.credential_lives(), store.reservation_sums())?;
            let expiries = lives.into_iter().map(|life| (life.cluster, life.expires_at)).collect();
            Ok(Sums { apps: apps.into_iter().collect(), expiries, reserved: reserved.sums })
        };
        self.sums.since(self.recent(SUMS_AGE), read).await
    }
}

/// Converts a cluster row to the fields that status uses.
pub(super) fn stored(row: ClusterRow) -> StoredCluster {
    StoredCluster {
        name: row.taken.name,
        labels: row.taken.labels,
        spec: row.taken.spec,
        leaving: row.taken.removal.is_some(),
        health: row.status.map(|status| status.health),
        kinds: serde_json::Value::Null,
        capacity: serde_json::Value::Null,
    }
}

async fn read(store: &Store) -> Result<FleetView, StoreError> {
    let (rows, cells) = tokio::try_join!(store.cluster_list(), store.cell_list())?;
    let seen = rows.iter().filter_map(|row| Some((row.taken.name.clone(), row.status.as_ref()?.as_of?))).collect();
    let stored = rows.into_iter().map(stored).collect();
    let cells = cells
        .into_iter()
        .filter_map(|row| {
            Some(StoredCell { name: row.name, labels: row.labels, spec: row.spec?, leaving: row.leaving })
        })
        .collect();
    let topology = topology_from_rows(stored, cells).0;
    Ok(FleetView { topology, seen })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn snapshot_read_before_a_change_is_too_old() {
        let fleet = Fleet::default();
        tokio::time::advance(AGE * 4).await;
        let read = Instant::now();
        assert!(fleet.recent(AGE) <= read);
        tokio::time::advance(AGE / 10).await;
        fleet.changed();
        assert!(fleet.recent(AGE) > read);
        tokio::time::advance(AGE * 2).await;
        assert!(fleet.recent(AGE) > read + AGE, "and it ages as before");
    }
}
