//! Who asks, and what was asked.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use vocabulary::OperationId;

/// The subject of a token: `GET /whoami`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WhoAmI {
    /// Subject as in operations and in the audit: `token/ci`, `person/ann`.
    pub subject: String,
    /// Kind of the subject.
    pub kind: String,
    /// Name of the subject.
    pub name: String,
    /// Groups that the hub named.
    pub groups: Vec<String>,
    /// Roles that limit the token; empty for no limit.
    pub scopes: Vec<String>,
    /// Roles of the subject, in all namespaces.
    pub roles: Vec<RoleView>,
    /// Rights that count everywhere.
    pub rights: Vec<String>,
}

/// A role of a subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoleView {
    /// Name of the role.
    pub role: String,
    /// Namespace in which it counts; absent for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// A change that was asked for: `GET /audit`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditEvent {
    /// Number in the order of writing.
    pub id: i64,
    /// When the request was answered.
    pub at: Timestamp,
    /// Subject that asked, or `anonymous`.
    pub actor: String,
    /// HTTP method.
    pub method: String,
    /// Path of the request.
    pub path: String,
    /// Operation that the request was about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<OperationId>,
    /// HTTP status of the answer.
    pub status: u16,
    /// Reason given, or why the request was refused.
    pub reason: String,
    /// Identity of the request, as in the server's log.
    pub request_id: String,
    /// Chain that the row belongs to: one for each writer.
    pub chain: String,
    /// Number in the chain; dense, from 1.
    pub seq: i64,
    /// Hash over the hash of the row before in the chain, and this row; hexadecimal.
    pub hash: String,
}
