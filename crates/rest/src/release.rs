//! Releases, rollbacks and revisions of one Application.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use vocabulary::OperationId;

/// A request to release: `POST /applications/{namespace}/{name}/releases`.
///
/// Has `images`, `patch`, or neither. Neither releases the present revision again.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NewRelease {
    /// Images by component, or by component and container as `component/container`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images: Option<BTreeMap<String, String>>,
    /// JSON merge patch (RFC 7386) of the Application's spec.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch: Option<Value>,
    /// Why.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// A request to go back to an earlier revision: `POST /applications/{namespace}/{name}/rollback`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NewRollback {
    /// The revision, or its first digits. The previous ready revision when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Takes over fields that another field manager owns.
    pub force_conflicts: bool,
    /// Why.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// Answer to a request to release or to roll back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StartedRelease {
    /// The Application, as `namespace/name`.
    pub application: String,
    /// Hash of the revision that the Application has now.
    pub revision: String,
    /// Operation that releases the revision. `None` where there is none, or none yet.
    #[serde(default)]
    pub operation: Option<OperationId>,
    /// Generation of the Application on the hub.
    pub generation: i64,
    /// Nothing is left to be done: the revision runs in every cell already.
    #[serde(default)]
    pub done: bool,
    /// What was done, and what to do where there is no operation.
    #[serde(default)]
    pub message: String,
}

/// A stored revision: `GET /applications/{namespace}/{name}/revisions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Revision {
    /// Hash of components and overrides.
    pub revision: String,
    /// When the revision was stored first.
    pub taken_at: Timestamp,
    /// The revision was fully ready once, so that a rollback may go there.
    pub was_ready: bool,
    /// The Application has this revision now.
    pub current: bool,
}

/// A revision with its content: `GET /applications/{namespace}/{name}/revisions/{hash}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevisionContent {
    /// The revision.
    #[serde(flatten)]
    pub revision: Revision,
    /// Components as declared. Contents of Secrets are masked.
    pub components: Value,
    /// Override rules as declared. Values for Secrets are masked.
    pub overrides: Value,
}
