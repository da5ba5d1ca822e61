//! The part of an Application's spec that decides numbers and behaviour.
//!
//! This is everything except components and overrides.

use std::collections::BTreeMap;

use crds::PlacementSpec;
use crds::application::release::Release;
use crds::application::v1alpha1::{AdoptPolicy, DriftPolicy};
use serde::{Deserialize, Serialize};

/// Intent as accepted from the hub.
///
/// A `PlacementPolicy` is resolved: its content at that time is part of the intent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Intent {
    /// Replicas asked for. 0 when no component is Divided.
    pub replicas: i32,
    /// Whether the Application runs no replicas.
    pub suspended: bool,
    /// Placement policy of the Application.
    pub placement: PlacementSpec,
    /// The `PlacementPolicy` that `placement` comes from.
    ///
    /// `None` where the Application itself states the placement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicySource>,
    /// Behaviour when a delivered field is changed in a member.
    pub drift: DriftPolicy,
    /// Behaviour when an object already exists in the member.
    pub adopt: AdoptPolicy,
    /// Pod-security labels of the hub's namespace. A namespace that is created in a member gets them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pod_security: BTreeMap<String, String>,
    /// Time in seconds after which replicas of a silent cluster run elsewhere.
    ///
    /// `None` when the replicas wait for the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failover_after: Option<i64>,
    /// How a new revision reaches the pods. `None` for cell by cell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<Release>,
    /// Time in seconds after which an unfinished deletion reports what blocks it.
    #[serde(default = "Intent::default_deadline")]
    pub deletion_deadline: i64,
}

/// Identifies the state of a `PlacementPolicy` that was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicySource {
    /// UID of the object.
    pub uid: String,
    /// Generation of the object.
    pub generation: i64,
}

/// Parses a span such as `90s`, `5m` or `1h30m` and returns whole seconds.
///
/// `None` when the text is no span or the span is negative.
pub fn seconds(span: &str) -> Option<i64> {
    span.parse::<jiff::SignedDuration>().ok().map(|span| span.as_secs()).filter(|seconds| *seconds >= 0)
}

impl Intent {
    /// Deletion deadline of an intent that an earlier version stored without one.
    const fn default_deadline() -> i64 {
        600
    }

    /// Returns the number of replicas to place. 0 while the Application is suspended.
    pub fn wanted(&self) -> i32 {
        if self.suspended { 0 } else { self.replicas }
    }
}
