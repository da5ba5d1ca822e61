//! Cache of the names of Applications by row id.
//!
//! Intake adds each name when it takes an Application in. So names are read from rows only after a new leader has
//! begun.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use store::AppId;
use vocabulary::AppKey;

/// Names by row id. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names(Arc<Mutex<HashMap<AppId, AppKey>>>);

impl Names {
    fn known(&self) -> MutexGuard<'_, HashMap<AppId, AppKey>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a name. An id is never reused, so it never refers to another name.
    pub(crate) fn learn(&self, id: AppId, key: &AppKey) {
        self.known().entry(id).or_insert_with(|| key.clone());
    }

    pub(crate) fn of(&self, id: AppId) -> Option<AppKey> {
        self.known().get(&id).cloned()
    }

    /// Removes the name of a deleted Application.
    pub(crate) fn forget(&self, key: &AppKey) {
        self.known().retain(|_, known| known != key);
    }
}
