//! Cache of applications and their revisions, backed by the store.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::intent::Intent;
use domain::stored_revision::StoredRevision;
use store::{AppId, ApplicationRow, Hint, ParsedRevisions, Store, StoreError};
use tokio::sync::OnceCell;
use vocabulary::{AppKey, ContentHash};

/// Key and intent of an application.
#[derive(Debug, Clone)]
pub(crate) struct DeliveredApp {
    pub(crate) key: AppKey,
    pub(crate) intent: Arc<Intent>,
}

impl DeliveredApp {
    fn read(row: ApplicationRow) -> Result<Self, RevisionError> {
        let intent =
            serde_json::from_value(row.intent).map_err(|error| RevisionError::Unreadable(error.to_string()))?;
        Ok(Self { key: row.key, intent: Arc::new(intent) })
    }
}

/// Caches of applications and revisions, shared by the deliverers of all clusters.
#[derive(Debug)]
pub struct Revisions {
    store: Store,
    parsed: Arc<ParsedRevisions<StoredRevision>>,
    apps: Mutex<HashMap<AppId, Slot>>,
}

#[derive(Debug, Default)]
struct Slot {
    facts: Arc<OnceCell<DeliveredApp>>,
    /// Last hint about a change of the intent.
    ///
    /// Every deliverer receives the hint; only the first clears the slot.
    stale_since: Option<Arc<Hint>>,
}

/// Error of reading an application or a revision.
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
    /// Creates the cache. The scheduler shares the parsed revisions.
    pub fn new(store: Store, parsed: Arc<ParsedRevisions<StoredRevision>>) -> Self {
        Self { store, parsed, apps: Mutex::default() }
    }

    fn apps(&self) -> MutexGuard<'_, HashMap<AppId, Slot>> {
        self.apps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Clears an application whose intent changed. Returns true for the first deliverer with this hint.
    pub(crate) fn app_changed(&self, app: AppId, hint: &Arc<Hint>) -> bool {
        let mut apps = self.apps();
        let slot = apps.entry(app).or_default();
        let first = slot.stale_since.as_ref().is_none_or(|known| !Arc::ptr_eq(known, hint));
        if first {
            // A read that began before the change fills the old cell, which only its own caller uses.
            *slot = Slot { facts: Arc::default(), stale_since: Some(Arc::clone(hint)) };
        }
        first
    }

    /// Clears all applications.
    pub(crate) fn all_changed(&self) {
        self.apps().clear();
    }

    /// Reads the applications that are not cached, in one query.
    pub(crate) async fn learn(&self, wanted: BTreeSet<AppId>) -> Result<(), StoreError> {
        let unknown: HashMap<AppId, Arc<OnceCell<DeliveredApp>>> = {
            let mut apps = self.apps();
            let mut cell = |app| Arc::clone(&apps.entry(app).or_default().facts);
            wanted.into_iter().map(|app| (app, cell(app))).filter(|(_, facts)| !facts.initialized()).collect()
        };
        if unknown.is_empty() {
            return Ok(());
        }
        let ids: Vec<AppId> = unknown.keys().copied().collect();
        for row in self.store.application_list(&ids).await? {
            let (id, facts) = (row.id, DeliveredApp::read(row));
            // The attempt to deliver reports an unreadable application. Another reader may have filled the cell first.
            if let (Some(cell), Ok(facts)) = (unknown.get(&id), facts) {
                let _ = cell.set(facts);
            }
        }
        Ok(())
    }

    /// Name of an application, if it is cached.
    pub(crate) fn known_name(&self, app: AppId) -> Option<String> {
        let facts = Arc::clone(&self.apps().get(&app)?.facts);
        facts.get().map(|facts| facts.key.name.clone())
    }

    /// Reads an application from the database now, even if it is cached.
    pub(crate) async fn app_anew(&self, app: AppId) -> Result<DeliveredApp, RevisionError> {
        self.apps().entry(app).or_default().facts = Arc::default();
        self.app(app).await
    }

    pub(crate) async fn app(&self, app: AppId) -> Result<DeliveredApp, RevisionError> {
        let cell = Arc::clone(&self.apps().entry(app).or_default().facts);
        // Boxed: most callers find the application cached and need not carry the state of a read.
        let read = async || {
            let row = self.store.application_list(&[app]).await?.pop().ok_or(RevisionError::Missing)?;
            DeliveredApp::read(row)
        };
        match cell.get_or_try_init(|| Box::pin(read())).await {
            Ok(facts) => Ok(facts.clone()),
            Err(error) => {
                if matches!(error, RevisionError::Missing) {
                    self.apps().remove(&app);
                }
                Err(error)
            }
        }
    }

    pub(crate) async fn revision(
        &self,
        app: AppId,
        key: &AppKey,
        revision: ContentHash,
    ) -> Result<Arc<StoredRevision>, RevisionError> {
        let parsed = self.parsed.get(app, revision, |bytes| StoredRevision::parse(key, bytes)).await?;
        parsed.ok_or(RevisionError::Missing)
    }
}
