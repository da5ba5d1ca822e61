//! Operations, as requests and answers.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use vocabulary::OperationId;

/// A request to create an operation: `POST /operations`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewOperation {
    /// Name of the kind.
    pub kind: String,
    /// The kind's own part.
    pub spec: Value,
    /// Why.
    #[serde(default)]
    pub reason: String,
    /// The operation waits for `start`.
    #[serde(default)]
    pub hold: bool,
}

/// Body of a verb: `POST /operations/{id}/{verb}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ControlBody {
    /// Step that the verb is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Target that the verb is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Why. Mandatory for `skip`, `force` and `reject`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// An operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    /// Identity.
    pub id: OperationId,
    /// Name of the kind.
    pub kind: String,
    /// What the operation changes, for people.
    pub subject: String,
    /// State. `NoEngine` where no running program supports the operation.
    pub state: String,
    /// `Forward` or `Revert`.
    pub phase: String,
    /// The operation is over.
    pub done: bool,
    /// The operation is over and reached its goal.
    pub succeeded: bool,
    /// Why it pauses or waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<Pause>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// The request, as given.
    pub spec: Value,
    /// Person or machine identity that created it.
    pub created_by: String,
    /// Why it was created.
    pub reason: String,
    /// When it was created.
    pub create_time: Timestamp,
    /// When it first ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_time: Option<Timestamp>,
    /// Targets over all steps of the present phase.
    pub progress: Progress,
    /// Steps of the present phase with their targets. Empty in lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepView>,
    /// Number of the last journal entry.
    pub journal_seq: i64,
    /// Related resources.
    pub links: OperationLinks,
}

/// Why an operation pauses or waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pause {
    /// `Operator`, `Failure`, `Indeterminate`, `Confirm`, `Preempted` or `Locks`.
    pub reason: String,
    /// Step that caused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Present state and what ends the pause.
    pub message: String,
    /// Person, operation or program that caused it.
    pub by: String,
    /// When it began.
    pub since: Timestamp,
}

/// How far an operation is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Progress {
    /// Targets over all steps.
    pub total: usize,
    /// Targets that succeeded or were skipped.
    pub done: usize,
    /// Targets that failed.
    pub failed: usize,
    /// Targets under way.
    pub running: usize,
}

/// A step with its targets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepView {
    /// Name of the step.
    pub id: String,
    /// What it does.
    pub title: String,
    /// State: the least advanced of its targets.
    pub state: String,
    /// Its targets, at most the first 200 that are not done and the first 50 that are.
    pub targets: Vec<TargetView>,
}

/// A target of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetView {
    /// Name of the target, unique in its step.
    pub target: String,
    /// State, such as `Intended` or `Succeeded`.
    pub state: String,
    /// Round of a person's retries, from 0.
    pub round: i32,
    /// Automatic retries in this round.
    pub attempt: i32,
    /// Progress or result.
    pub message: String,
    /// When state or message changed; absent for a target that waits for its turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_at: Option<Timestamp>,
}

/// Paths of related resources.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OperationLinks {
    /// The operation itself.
    #[serde(rename = "self")]
    pub itself: String,
    /// Its journal as a stream of events.
    pub events: String,
}

/// An entry of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JournalEvent {
    /// Number of the entry; dense, from 1. Also the id of the event in a stream.
    pub seq: i64,
    /// `Created`, `Intent`, `Outcome`, `State`, `Control`, `Check` or `Note`.
    pub entry: String,
    /// Step that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Target that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Details.
    pub body: Value,
    /// Person, operation or program that caused it.
    pub actor: String,
    /// When it happened.
    pub at: Timestamp,
    /// Hash over the hash of the entry before and this entry, hexadecimal.
    pub hash: String,
}

/// A lock that an operation holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lock {
    /// Key: `cluster/east`, `app/shop/web`.
    pub key: String,
    /// `Exclusive` or `Shared`.
    pub mode: String,
    /// The operation.
    pub operation: OperationId,
    /// Kind of the operation.
    pub kind: String,
    /// What the operation changes.
    pub subject: String,
    /// Person or machine identity that created the operation.
    pub started_by: String,
    /// Since when it is held.
    pub since: Timestamp,
}

/// Result of checking the journal of an operation: `GET /operations/{id}/verification`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verification {
    /// Number of entries whose chain is whole.
    pub entries: i64,
    /// The chain is whole.
    pub whole: bool,
    /// Where it is broken first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Token of the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<String>,
}
