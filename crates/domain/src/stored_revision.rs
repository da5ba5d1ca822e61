//! A revision as it is stored, and as decisions and rendering use it.

use crds::application::v1alpha1::{Component, OverrideRule};
use serde::{Deserialize, Serialize};
use vocabulary::{AppKey, ContentHash};

use crate::render::{Blueprint, blueprint_of_revision, substance};

/// What is stored of a revision: components and overrides as the Application had them.
#[derive(Debug, Serialize)]
pub struct RevisionBody<'a> {
    /// Components.
    pub components: &'a [Component],
    /// Overrides.
    pub overrides: &'a [OverrideRule],
}

#[derive(Deserialize)]
struct Stored {
    components: Vec<Component>,
    #[serde(default)]
    overrides: Vec<OverrideRule>,
}

/// One revision, ready to be rendered.
#[derive(Debug)]
pub struct StoredRevision {
    /// Its components, classified.
    pub blueprint: Blueprint,
    /// What differs between places.
    pub overrides: Vec<OverrideRule>,
    /// Equal for two revisions when going from one to the other restarts nothing.
    pub substance: ContentHash,
}

impl StoredRevision {
    /// Parses a stored body.
    ///
    /// # Errors
    /// A sentence, when the body is not one that intake could have stored.
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
