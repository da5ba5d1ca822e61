//! Names of applications by their row ids: learnt when they are taken in, so that a row is read for its name only after a new
//! leader has begun.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use store::AppId;
use vocabulary::AppKey;

/// What was learnt. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names(Arc<Mutex<HashMap<AppId, AppKey>>>);

impl Names {
    fn known(&self) -> MutexGuard<'_, HashMap<AppId, AppKey>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An id is never used again, and so never means another name.
    pub(crate) fn learn(&self, id: AppId, key: &AppKey) {
        self.known().entry(id).or_insert_with(|| key.clone());
    }

    pub(crate) fn of(&self, id: AppId) -> Option<AppKey> {
        self.known().get(&id).cloned()
    }

    /// The application is gone.
    pub(crate) fn forget(&self, key: &AppKey) {
        self.known().retain(|_, known| known != key);
    }
}
