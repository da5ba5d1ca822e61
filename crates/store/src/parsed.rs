//! A cache of parsed revisions.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OnceCell;
use vocabulary::ContentHash;

use crate::seal::EnvelopeKey;
use crate::{AppId, Store, StoreError};

/// Maximum number of parsed revisions in the cache; each takes some tens of KB.
const KEPT: usize = 1024;

type Slot = (AppId, ContentHash);
type Kept<T> = HashMap<Slot, Arc<OnceCell<Arc<T>>>>;

/// A cache of parsed revisions. The caller passes the function that parses a stored body.
///
/// Concurrent calls of [`Self::get`] for the same revision wait for a single read.
#[derive(Debug)]
pub struct ParsedRevisions<T> {
    store: Store,
    key: Arc<EnvelopeKey>,
    kept: Mutex<Kept<T>>,
}

impl<T> ParsedRevisions<T> {
    /// Creates an empty cache over a store.
    pub fn new(store: Store, key: Arc<EnvelopeKey>) -> Self {
        Self { store, key, kept: Mutex::default() }
    }

    /// Returns one revision of an application; `None` when the revision is no longer stored.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when the body cannot be parsed.
    pub async fn get(
        &self,
        app: AppId,
        revision: ContentHash,
        parse: impl FnOnce(&[u8]) -> Result<T, String>,
    ) -> Result<Option<Arc<T>>, StoreError> {
        let cell = cell(&mut self.kept(), (app, revision));
        let found = cell
            .get_or_try_init(async || {
                let bytes =
                    self.store.payload_of_revision(app, revision, &self.key).await.map_err(Some)?.ok_or(None)?;
                parse(&bytes).map(Arc::new).map_err(|reason| Some(StoreError::corrupt("revision", reason)))
            })
            .await;
        match found {
            Ok(found) => Ok(Some(Arc::clone(found))),
            Err(None) => Ok(None),
            Err(Some(error)) => Err(error),
        }
    }

    /// Returns several revisions, reading all that are not cached with one query.
    ///
    /// Revisions that are no longer stored are left out.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when a body cannot be parsed.
    pub async fn get_many(
        &self,
        wanted: &[Slot],
        parse: impl Fn(AppId, &[u8]) -> Result<T, String>,
    ) -> Result<HashMap<Slot, Arc<T>>, StoreError> {
        let mut found = HashMap::new();
        let mut missing = Vec::new();
        {
            let kept = self.kept();
            for slot in wanted.iter().copied() {
                match kept.get(&slot).and_then(|cell| cell.get()) {
                    Some(parsed) => {
                        found.insert(slot, Arc::clone(parsed));
                    }
                    None => missing.push(slot),
                }
            }
        }
        if missing.is_empty() {
            return Ok(found);
        }
        for payload in self.store.payloads_of_revisions(&missing, &self.key).await? {
            let parsed =
                Arc::new(parse(payload.app, &payload.body).map_err(|reason| StoreError::corrupt("revision", reason))?);
            let slot = (payload.app, payload.revision);
            // Another task may have read the same revision meanwhile. Equal content has an equal hash, so either
            // result is right.
            let _ = cell(&mut self.kept(), slot).set(Arc::clone(&parsed));
            found.insert(slot, parsed);
        }
        Ok(found)
    }

    fn kept(&self) -> MutexGuard<'_, Kept<T>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the cache cell of a revision, after removing another one where the cache is full.
fn cell<T>(kept: &mut Kept<T>, slot: Slot) -> Arc<OnceCell<Arc<T>>> {
    if let Some(known) = kept.get(&slot) {
        return Arc::clone(known);
    }
    if kept.len() >= KEPT {
        // Any entry may be removed: a removed revision is read again when needed.
        if let Some(any) = kept.keys().next().copied() {
            kept.remove(&any);
        }
    }
    Arc::clone(kept.entry(slot).or_default())
}
