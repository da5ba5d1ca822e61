//! Reads the topology and the rows of a session.

use super::{Arc, BTreeMap, BTreeSet, Hint, Instant, PlacementId, Rows, Session, StoreError, Timestamp};

impl Session {
    /// Reads where cells lie and the authority of each, no older than `after`.
    ///
    /// Queues all rows when something changed, because rendered objects and fences depend on it.
    pub(crate) async fn read_topology(&self, after: Instant) -> Result<(), StoreError> {
        let delivery = self.delivery();
        let now = delivery.fleet.since(&delivery.store, after).await?;
        let before = self.0.fleet.swap(Arc::clone(&now));
        if !now.says_the_same(&before) {
            let all: Vec<PlacementId> = self.cluster_state().entries.keys().copied().collect();
            self.0.queue.extend(all);
        }
        Ok(())
    }

    pub(crate) async fn read_rows(&self, wanted: Rows) -> Result<(), StoreError> {
        let rows = self.delivery().store.placement_in_cluster(self.name()).await?;
        let taken = {
            let mut cluster_state = self.cluster_state();
            cluster_state.keep_only(&rows);
            cluster_state.take_rows(rows, Timestamp::now())
        };
        let looked_at = |(id, calls): (PlacementId, bool)| (calls || wanted == Rows::All).then_some(id);
        self.name_apps().await;
        self.0.queue.extend(taken.into_iter().filter_map(looked_at));
        Ok(())
    }

    /// Reads the rows of this cluster that a hint names, and removes those that are no longer stored.
    pub(crate) async fn read_named(
        &self,
        hint: &Arc<Hint>,
        named: &BTreeMap<String, Vec<PlacementId>>,
    ) -> Result<(), StoreError> {
        let Some(ids) = named.get(self.name()) else { return Ok(()) };
        let delivery = self.delivery();
        let rows = delivery.named.of(&delivery.store, self.revisions(), hint, named, self.name()).await?;
        let taken = {
            let mut cluster_state = self.cluster_state();
            let there: BTreeSet<PlacementId> = rows.iter().map(|row| row.id).collect();
            ids.iter().filter(|id| !there.contains(id)).for_each(|id| cluster_state.forget(*id));
            cluster_state.take_rows(rows, Timestamp::now())
        };
        self.name_apps().await;
        self.0.queue.extend(taken.into_iter().map(|(id, _)| id));
        Ok(())
    }
}
