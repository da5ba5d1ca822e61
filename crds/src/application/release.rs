//! `spec.release`: how a new revision reaches the pods of an Application.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube_derive::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a new revision reaches the pods: in batches over all cells, each watched before the next begins.
///
/// Without this field, a new revision goes cell by cell, and the next cell begins when the previous one is ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(crates(kube_core = "::kube_core"))]
pub struct Release {
    /// Whether one pod in each cell gets the revision before the first batch.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub beta: bool,
    /// Shares of all replicas over all cells that have the revision after each batch, such as `6` or `50%`.
    ///
    /// Shares grow from batch to batch. A batch of all replicas follows the last share where that is less.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    #[x_kube(validation = ("self.all(b, type(b) == int ? b >= 1 : string(b).matches('^([1-9]|[1-9][0-9]|100)%$'))", "a batch is a number of at least 1 or a percentage from 1% to 100%"))]
    pub batches: Vec<IntOrString>,
    /// Whether the next batch begins by itself (`Auto`) or when a person confirms it (`Manual`).
    #[serde(default)]
    pub confirm: Confirm,
    /// Time that a batch must be available before it counts as good, such as `30s`.
    #[serde(default = "Release::default_min_ready")]
    #[schemars(length(min = 2, max = 16), pattern(r"^([0-9]+h)?([0-9]+m)?([0-9]+s)?$"))]
    pub min_ready: String,
    /// Time in which a batch must become available, such as `10m`.
    #[serde(default = "Release::default_deadline")]
    #[schemars(length(min = 2, max = 16), pattern(r"^([0-9]+h)?([0-9]+m)?([0-9]+s)?$"))]
    pub deadline: String,
    /// What follows a batch that does not become available in time, or fails a gate.
    #[serde(default)]
    pub on_gate_fail: OnGateFail,
}

impl Release {
    fn default_min_ready() -> String {
        "10s".to_owned()
    }

    fn default_deadline() -> String {
        "10m".to_owned()
    }
}

/// How the next batch of a release begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Confirm {
    /// The next batch begins when the previous one is good.
    #[default]
    Auto,
    /// The next batch waits for `meridian release confirm`.
    Manual,
}

/// What follows a failed batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnGateFail {
    /// All cells go back to the previous revision. The Application itself is not edited.
    #[default]
    Rollback,
    /// The release pauses for a person.
    Pause,
}
