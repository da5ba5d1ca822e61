//! Objects that are not taken in, with the reasons.
//!
//! The refusals are kept in memory. After a restart, intake finds the same reasons again.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use store::StoreError;
use vocabulary::AppKey;

/// Reason why an object is not taken in. Its last stored state stays in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Reason in one word.
    pub(crate) reason: &'static str,
    /// Problem and remedy; one line per problem.
    pub(crate) message: String,
    /// Generation of the refused object.
    pub(crate) generation: i64,
    /// Name of the state taken in, as used in an acceptance; set when an Application's source was lost.
    pub(crate) taken: Option<String>,
}

impl Refusal {
    /// Returns the refusal of an object that exists but cannot be read by this program.
    pub(crate) fn unreadable(why: &str) -> Self {
        let message = format!("the object cannot be read: {why}; correct it, or update Meridian's CRDs");
        Self { reason: "Unreadable", message, generation: 0, taken: None }
    }

    /// Returns the refusal of an object that the database rejects.
    pub(super) fn not_stored(error: &StoreError) -> Self {
        let message = format!(
            "the object cannot be stored: {}; take out characters with code zero (\\u0000) and what is far too long",
            vocabulary::chain(error)
        );
        Self { reason: "CannotBeStored", message, generation: 0, taken: None }
    }
}

/// Refusals by kind and key.
#[derive(Debug, Clone, Default)]
pub(crate) struct Refusals(Arc<RwLock<HashMap<(&'static str, AppKey), Refusal>>>);

impl Refusals {
    /// Stores or clears the refusal of an object; returns whether it changed.
    pub(crate) fn set(&self, kind: &'static str, key: &AppKey, refusal: Option<Refusal>) -> bool {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let slot = (kind, key.clone());
        let before = match &refusal {
            Some(refusal) => all.insert(slot, refusal.clone()),
            None => all.remove(&slot),
        };
        before != refusal
    }

    /// Returns the refusal of an object, if it is refused.
    pub(crate) fn get(&self, kind: &'static str, key: &AppKey) -> Option<Refusal> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&(kind, key.clone())).cloned()
    }
}
