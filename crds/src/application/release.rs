//! `spec.release`: how a new revision reaches the pods of an Application.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// How a new revision reaches the pods: in batches over all cells, each watched before the next begins.
///
/// Without this field, a new revision goes cell by cell, and the next cell begins when the previous one is ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Release {
    /// Whether one pod in each cell gets the revision before the first batch.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub beta: bool,
    /// Shares of all replicas over all cells that have the revision after each batch, such as `6` or `50%`.
    ///
    /// Shares grow from batch to batch. A batch of all replicas follows the last share where that is less.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "shares")]
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

/// A list of numbers of at least 1 and percentages from 1% to 100%.
///
/// Of an item, the minimum is about numbers alone, and the pattern about texts. A CEL rule for the same exceeds the API
/// server's cost limit.
fn shares(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 20,
        "items": {
            "x-kubernetes-int-or-string": true,
            "minimum": 1,
            "maxLength": 4,
            "pattern": "^([1-9]|[1-9][0-9]|100)%$",
        },
    })
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

/// The newest release of an Application.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseStatus {
    /// Operation that brings the revision. `meridian op show` takes it.
    pub operation: String,
    /// Revision that the release brings, shortened.
    pub revision: String,
    /// `Open`, `Released` or `RolledBack`.
    pub state: String,
    /// What an open release does now, such as `batch 1 of 2: 5 of 10 replicas`; otherwise its state.
    pub progress: String,
    /// Why it waits or was rolled back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}
