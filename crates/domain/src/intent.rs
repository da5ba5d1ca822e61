//! The part of an Application's spec that decides numbers and conduct: everything but components and overrides.

use crds::PlacementSpec;
use crds::application::v1alpha1::{AdoptPolicy, DriftPolicy};
use serde::{Deserialize, Serialize};

/// Intent as taken in. A `PlacementPolicy` is resolved: what it said then is part of the intent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Intent {
    /// Replicas asked for; 0 when nothing is divided.
    pub replicas: i32,
    /// Run nothing.
    pub suspended: bool,
    /// Where replicas go.
    pub placement: PlacementSpec,
    /// What happens when a delivered field is changed in a member.
    pub drift: DriftPolicy,
    /// What happens when an object is already there.
    pub adopt: AdoptPolicy,
}

impl Intent {
    /// Replicas to place.
    pub fn wanted(&self) -> i32 {
        if self.suspended { 0 } else { self.replicas }
    }
}
