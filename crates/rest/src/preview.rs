//! Answer of a dry run.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a request would do: `POST /operations?dryRun=true`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Preview {
    /// Name of the kind.
    pub kind: String,
    /// What the operation would change, for people.
    pub subject: String,
    /// Steps and their order.
    pub plan: Value,
    /// Locks that the operation would need.
    pub locks: Vec<LockNeed>,
    /// What would move, and what blocks; its shape is the kind's.
    pub preview: Value,
}

/// A lock that an operation would need.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LockNeed {
    /// Key: `cluster/east`, `app/shop/web`.
    pub key: String,
    /// `Exclusive` or `Shared`.
    pub mode: String,
}
