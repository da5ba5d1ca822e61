//! A revision as stored, and as decisions and rendering use it.

use crds::application::v1alpha1::{Component, OverrideRule};
use serde::{Deserialize, Serialize};
use vocabulary::{AppKey, ContentHash};

use crate::render::{Blueprint, blueprint_of_revision, substance};

/// Stored content of a revision: components and overrides as the Application had them.
#[derive(Debug, Serialize)]
pub struct RevisionBody<'a> {
    /// Components as declared.
    pub components: &'a [Component],
    /// Override rules as declared.
    pub overrides: &'a [OverrideRule],
}

#[derive(Deserialize)]
struct Stored {
    components: Vec<Component>,
    #[serde(default)]
    overrides: Vec<OverrideRule>,
}

/// A revision that is ready to be rendered.
#[derive(Debug)]
pub struct StoredRevision {
    /// Components, classified.
    pub blueprint: Blueprint,
    /// Override rules of the revision.
    pub overrides: Vec<OverrideRule>,
    /// Hash that is equal for two revisions when changing from one to the other restarts no pods.
    pub substance: ContentHash,
}

impl StoredRevision {
    /// Parses a stored body.
    ///
    /// # Errors
    /// Returns a sentence when intake could not have stored the body.
    pub fn parse(app: &AppKey, bytes: &[u8]) -> Result<Self, String> {
        let stored: Stored = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let blueprint = blueprint_of_revision(app, &stored.components, &stored.overrides).map_err(|problems| {
            problems
                .iter()
                .map(|problem| format!("{}: {}", problem.field, problem.message))
                .collect::<Vec<_>>()
                .join("; ")
        })?;
        let substance = substance(&stored.components, &stored.overrides);
        Ok(Self { blueprint, overrides: stored.overrides, substance })
    }
}
