//! Rows that hints name, read once for all the members that hear of them.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use store::{Hint, PlacementId, PlacementRow, Store, StoreError};
use tokio::sync::OnceCell;

/// Hints whose rows are kept. Whoever comes later reads for itself.
const KEPT: usize = 16;

/// What was read and nobody has taken yet.
type Reading = Arc<OnceCell<Mutex<HashMap<String, Vec<PlacementRow>>>>>;

/// The rows of the hints that came last, by cluster.
#[derive(Debug, Default)]
pub struct NamedRows(Mutex<VecDeque<(Arc<Hint>, Reading)>>);

impl NamedRows {
    /// The rows of a cluster that a hint names, as they were at some time after it was sent.
    ///
    /// # Errors
    /// Those of the reading; the next who asks tries again.
    pub(crate) async fn of(
        &self,
        store: &Store,
        hint: &Arc<Hint>,
        named: &BTreeMap<String, Vec<PlacementId>>,
        cluster: &str,
    ) -> Result<Vec<PlacementRow>, StoreError> {
        let Some(own) = named.get(cluster) else { return Ok(Vec::new()) };
        let read = async || {
            let ids: Vec<PlacementId> = named.values().flatten().copied().collect();
            let mut rows: HashMap<String, Vec<PlacementRow>> =
                named.keys().map(|cluster| (cluster.clone(), Vec::new())).collect();
            for row in store.placement_get_many(&ids).await? {
                rows.entry(row.cluster.clone()).or_default().push(row);
            }
            Ok::<_, StoreError>(Mutex::new(rows))
        };
        let reading = self.reading(hint);
        let rows = reading.get_or_try_init(read).await?;
        let taken = rows.lock().unwrap_or_else(PoisonError::into_inner).remove(cluster);
        match taken {
            Some(rows) => Ok(rows),
            // An earlier session with the member took them.
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
