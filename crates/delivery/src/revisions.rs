//! What delivery needs to know of applications and their revisions, cached over the store.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use domain::intent::Intent;
use domain::stored_revision::StoredRevision;
use store::seal::EnvelopeKey;
use store::{AppId, ParsedRevisions, Store, StoreError};
use vocabulary::AppKey;

/// What delivery needs to know of an application.
#[derive(Debug, Clone)]
pub(crate) struct AppFacts {
    pub(crate) key: AppKey,
    pub(crate) intent: Arc<Intent>,
}

/// Caches over the store.
#[derive(Debug)]
pub(crate) struct Revisions {
    store: Store,
    parsed: ParsedRevisions<StoredRevision>,
    apps: Mutex<HashMap<AppId, AppFacts>>,
}

/// Why a revision cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RevisionError {
    #[error("the database does not give the revision")]
    Store(#[from] StoreError),
    #[error("the revision is no longer stored")]
    Missing,
    #[error("the intent cannot be read: {0}")]
    Unreadable(String),
}

impl Revisions {
    pub(crate) fn new(store: Store, key: Arc<EnvelopeKey>) -> Self {
        Self { store: store.clone(), parsed: ParsedRevisions::new(store, key), apps: Mutex::default() }
    }

    /// Forgets what is known of an application: its intent changed.
    pub(crate) fn app_changed(&self, app: AppId) {
        self.apps.lock().unwrap_or_else(PoisonError::into_inner).remove(&app);
    }

    /// Forgets all intents.
    pub(crate) fn all_changed(&self) {
        self.apps.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub(crate) async fn app(&self, app: AppId) -> Result<AppFacts, RevisionError> {
        if let Some(facts) = self.apps.lock().unwrap_or_else(PoisonError::into_inner).get(&app) {
            return Ok(facts.clone());
        }
        let row = self.store.application_list(&[app]).await?.pop().ok_or(RevisionError::Missing)?;
        let intent =
            serde_json::from_value(row.intent).map_err(|error| RevisionError::Unreadable(error.to_string()))?;
        let facts = AppFacts { key: row.key, intent: Arc::new(intent) };
        self.apps.lock().unwrap_or_else(PoisonError::into_inner).insert(app, facts.clone());
        Ok(facts)
    }

    pub(crate) async fn revision(
        &self,
        app: AppId,
        key: &AppKey,
        revision: &[u8],
    ) -> Result<Arc<StoredRevision>, RevisionError> {
        let parsed = self.parsed.get(app, revision, |bytes| StoredRevision::parse(key, bytes)).await?;
        parsed.ok_or(RevisionError::Missing)
    }
}
