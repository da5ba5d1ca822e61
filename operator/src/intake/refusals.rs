//! Objects that are not taken in, and why. Kept in memory: a restart finds the same reasons again.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use store::StoreError;
use vocabulary::AppKey;

/// Why an object is not taken in. What was taken in before stays in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// One word.
    pub(crate) reason: &'static str,
    /// What is wrong and what to do; one line per problem.
    pub(crate) message: String,
    /// Generation the refusal speaks of.
    pub(crate) generation: i64,
    /// For a lost source of an Application: what was taken in, as an acceptance names it.
    pub(crate) taken: Option<String>,
}

impl Refusal {
    /// It is there, and is not what this program takes it for.
    pub(crate) fn unreadable(why: &str) -> Self {
        let message = format!("the object cannot be read: {why}; correct it, or update Meridian's CRDs");
        Self { reason: "Unreadable", message, generation: 0, taken: None }
    }

    /// The database does not take it.
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
    /// Remembers a refusal, or that there is none; returns whether that is news.
    pub(crate) fn set(&self, kind: &'static str, key: &AppKey, refusal: Option<Refusal>) -> bool {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let slot = (kind, key.clone());
        let before = match &refusal {
            Some(refusal) => all.insert(slot, refusal.clone()),
            None => all.remove(&slot),
        };
        before != refusal
    }

    /// The refusal of an object, if it is refused.
    pub(crate) fn get(&self, kind: &'static str, key: &AppKey) -> Option<Refusal> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&(kind, key.clone())).cloned()
    }
}
