//! Revisions parsed once and kept while they are in use.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::seal::EnvelopeKey;
use crate::{AppId, Store, StoreError};

/// Parsed revisions kept; one is some tens of KB.
const KEPT: usize = 1024;

type Slot = (AppId, Vec<u8>);

/// A cache of parsed revisions. The caller says how a stored body is parsed.
#[derive(Debug)]
pub struct ParsedRevisions<T> {
    store: Store,
    key: Arc<EnvelopeKey>,
    kept: Mutex<HashMap<Slot, Arc<T>>>,
}

impl<T> ParsedRevisions<T> {
    /// An empty cache over a store.
    pub fn new(store: Store, key: Arc<EnvelopeKey>) -> Self {
        Self { store, key, kept: Mutex::default() }
    }

    /// One revision of an application; nothing when it is no longer stored.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when the body cannot be parsed.
    pub async fn get(
        &self,
        app: AppId,
        revision: &[u8],
        parse: impl FnOnce(&[u8]) -> Result<T, String>,
    ) -> Result<Option<Arc<T>>, StoreError> {
        let slot = (app, revision.to_vec());
        if let Some(found) = self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(&slot) {
            return Ok(Some(Arc::clone(found)));
        }
        let Some(bytes) = self.store.payload_of_revision(app, revision, &self.key).await? else { return Ok(None) };
        let parsed = Arc::new(parse(&bytes).map_err(|reason| StoreError::corrupt("revision", reason))?);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT {
            // Which one goes hardly matters: it is read again when needed.
            if let Some(any) = kept.keys().next().cloned() {
                kept.remove(&any);
            }
        }
        kept.insert(slot, Arc::clone(&parsed));
        Ok(Some(parsed))
    }
}
