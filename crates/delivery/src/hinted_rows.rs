//! Rows named by hints, read once for all members that receive the hint.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use store::{Hint, PlacementId, PlacementRow, Store, StoreError};
use tokio::sync::OnceCell;

use crate::revisions::Revisions;

/// Maximum number of hints whose rows are cached.
///
/// A session that handles an older hint reads its rows itself.
const KEPT: usize = 16;

/// Rows of one hint, by cluster, that no session has taken yet.
type Reading = Arc<OnceCell<Mutex<HashMap<String, Vec<PlacementRow>>>>>;

/// Cached rows of the most recent hints, by cluster.
#[derive(Debug, Default)]
pub struct HintedRows(Mutex<VecDeque<(Arc<Hint>, Reading)>>);

impl HintedRows {
    /// Returns the rows of a cluster that a hint names, as of some time after the hint was sent.
    ///
    /// The first caller reads the rows of all clusters, and the applications that are not cached yet.
    ///
    /// # Errors
    /// The error of the database read. The next caller reads again.
    pub(crate) async fn of(
        &self,
        store: &Store,
        revisions: &Revisions,
        hint: &Arc<Hint>,
        named: &BTreeMap<String, Vec<PlacementId>>,
        cluster: &str,
    ) -> Result<Vec<PlacementRow>, StoreError> {
        let Some(own) = named.get(cluster) else { return Ok(Vec::new()) };
        let read = async || {
            let ids: Vec<PlacementId> = named.values().flatten().copied().collect();
            let mut rows: HashMap<String, Vec<PlacementRow>> =
                named.keys().map(|cluster| (cluster.clone(), Vec::new())).collect();
            let found = store.placement_get_many(&ids).await?;
            if let Err(error) = revisions.learn(found.iter().map(|row| row.app).collect()).await {
                // The attempt to deliver reads a missing application itself, and reports a failure.
                tracing::debug!(error = vocabulary::chain(&error), "applications were not read together");
            }
            for row in found {
                rows.entry(row.cluster.clone()).or_default().push(row);
            }
            Ok::<_, StoreError>(Mutex::new(rows))
        };
        let reading = self.reading(hint);
        let rows = reading.get_or_try_init(read).await?;
        let taken = rows.lock().unwrap_or_else(PoisonError::into_inner).remove(cluster);
        match taken {
            Some(rows) => Ok(rows),
            // An earlier session with the member took the rows.
            None => store.placement_get_many(own).await,
        }
    }

    fn reading(&self, hint: &Arc<Hint>) -> Reading {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, reading)) = kept.iter().find(|(known, _)| Arc::ptr_eq(known, hint)) {
            return Arc::clone(reading);
        }
        if kept.len() == KEPT {
            kept.pop_front();
        }
        let reading = Reading::default();
        kept.push_back((Arc::clone(hint), Arc::clone(&reading)));
        reading
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stored_rows::StoredRows;
    use store::ParsedRevisions;
    use store::seal::EnvelopeKey;

    #[tokio::test]
    async fn rows_of_a_hint_are_read_once_for_all_members() {
        let rows = StoredRows::begin(&["a", "b"]).await;
        let named: BTreeMap<String, Vec<PlacementId>> =
            rows.placements.iter().map(|(cluster, id)| (cluster.clone(), vec![*id])).collect();
        let (first, second) = (Arc::new(Hint::Deliver(named.clone())), Arc::new(Hint::Deliver(named.clone())));
        let reads = HintedRows::default();
        let key = Arc::new(EnvelopeKey::from_hex(&"ab".repeat(32)).unwrap());
        let parsed = Arc::new(ParsedRevisions::new(rows.store.clone(), key));
        let revisions = Revisions::new(rows.store.clone(), parsed);
        let target = async |hint: &Arc<Hint>, cluster: &str| {
            let found = reads.of(&rows.store, &revisions, hint, &named, cluster).await.unwrap();
            found.iter().map(|row| (row.cluster.clone(), row.target)).collect::<Vec<_>>()
        };

        assert_eq!(target(&first, "a").await, [("a".to_owned(), 1)]);
        rows.bed.postgres.query("update placement set target = 2").unwrap();
        assert_eq!(target(&first, "b").await, [("b".to_owned(), 1)], "as it was read for the other one");
        assert_eq!(target(&second, "b").await, [("b".to_owned(), 2)]);
        assert_eq!(
            target(&first, "a").await,
            [("a".to_owned(), 2)],
            "another session with the member reads for itself"
        );
        assert_eq!(target(&first, "c").await, [], "it names nothing there");
        rows.end().await;
    }
}
