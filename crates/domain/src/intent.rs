//! The part of an Application's spec that decides numbers and conduct: everything but components and overrides.

use std::collections::BTreeMap;

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
    /// The `PlacementPolicy` that says so; nothing where the Application itself does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicySource>,
    /// What happens when a delivered field is changed in a member.
    pub drift: DriftPolicy,
    /// What happens when an object is already there.
    pub adopt: AdoptPolicy,
    /// Pod-security labels of the hub's namespace: a namespace that is made in a member gets them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pod_security: BTreeMap<String, String>,
    /// Seconds after which replicas of a silent cluster are run elsewhere; nothing when they wait for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failover_after: Option<i64>,
    /// Seconds after which a deletion that is not over says what keeps it.
    #[serde(default = "Intent::default_deadline")]
    pub deletion_deadline: i64,
}

/// Which state of a `PlacementPolicy` was taken in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicySource {
    /// UID of the object.
    pub uid: String,
    /// Its generation.
    pub generation: i64,
}

/// Seconds of a span written like `90s`, `5m` or `1h30m`.
pub fn seconds(span: &str) -> Option<i64> {
    span.parse::<jiff::SignedDuration>().ok().map(|span| span.as_secs()).filter(|seconds| *seconds >= 0)
}

impl Intent {
    /// What stands where an intent of an earlier version says nothing.
    const fn default_deadline() -> i64 {
        600
    }

    /// Replicas to place.
    pub fn wanted(&self) -> i32 {
        if self.suspended { 0 } else { self.replicas }
    }
}
