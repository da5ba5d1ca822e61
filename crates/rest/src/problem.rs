//! Errors, RFC 9457.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use vocabulary::OperationId;

/// An error answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// Path of the description of `code`, which every server has: `/problems/{code}`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The code as a sentence.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// Stable word for programs, such as `locked` or `idempotency-key-reused`.
    pub code: String,
    /// What went wrong with this request.
    pub detail: String,
    /// What to do.
    pub remedy: String,
    /// The same request may succeed later.
    #[serde(default)]
    pub retryable: bool,
    /// Identity of the request, as in the server's log.
    #[serde(default)]
    pub request_id: String,
    /// Fields that are wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldProblem>,
    /// Operation that stands in the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<Holder>,
}

/// A field that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldProblem {
    /// JSON pointer to the field.
    pub pointer: String,
    /// What is wrong with it.
    pub detail: String,
}

/// An operation that stands in the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Holder {
    /// The operation.
    pub operation: OperationId,
    /// Kind of the operation.
    pub kind: String,
    /// What it changes.
    pub subject: String,
    /// Lock that it holds.
    pub key: String,
    /// Person or machine identity that created it.
    pub started_by: String,
    /// Since when it holds the lock.
    pub since: Timestamp,
}
