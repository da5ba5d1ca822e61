//! Clusters, cells and Applications, as the database has them. Every answer has the time it is from.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A member cluster: `GET /clusters`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cluster {
    /// Name of the object.
    pub name: String,
    /// Labels of the object.
    pub labels: BTreeMap<String, String>,
    /// Region of the cluster.
    pub region: String,
    /// Zones of the cluster.
    pub zones: Vec<String>,
    /// New replicas are kept away.
    pub cordoned: bool,
    /// Replicas are moved away.
    pub draining: bool,
    /// The cluster is being deleted.
    pub leaving: bool,
    /// `Pass`, `Fail` or `Unknown`.
    pub health: String,
    /// Reason of the health, in one word.
    pub reason: String,
    /// What is wrong and what to do.
    pub message: String,
    /// Since when the cluster is not healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unhealthy_since: Option<Timestamp>,
    /// Kubernetes version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Capacity by zone.
    pub capacity: Value,
    /// Time of the last sign of life; absent before the first contact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<Timestamp>,
}

/// A cell: `GET /cells`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cell {
    /// Name of the object.
    pub name: String,
    /// Cluster that hosts it.
    pub cluster: String,
    /// Zone, where it is bound to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Labels of the object.
    pub labels: BTreeMap<String, String>,
    /// A Cell object declares it. Otherwise it is the cell that every cluster has.
    pub declared: bool,
    /// The object is being deleted.
    pub leaving: bool,
    /// Authority epoch.
    pub authority: u32,
    /// When the database was read.
    pub as_of: Timestamp,
}

/// An Application: `GET /applications`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Application {
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// Generation of the object that was taken in.
    pub generation: i64,
    /// Generation that the placement was brought up to; lower while a decision is due.
    pub decided_generation: i64,
    /// Revision that is desired, shortened.
    pub revision: String,
    /// Replicas asked for.
    pub replicas: i64,
    /// The Application runs no replicas on purpose.
    pub suspended: bool,
    /// The object is being deleted.
    pub leaving: bool,
    /// The last decision.
    pub decision: Decision,
    /// Cells that the Application runs in.
    pub cells: Vec<ApplicationCell>,
    /// Counts of its objects and replicas.
    pub status: ApplicationStatus,
}

/// The last decision about an Application.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// Some replicas found no place.
    pub short: bool,
    /// Why the previous placement was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
    /// Number of objects without a place.
    pub problems: usize,
    /// When the decision was made; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<Timestamp>,
}

/// An Application in one cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApplicationCell {
    /// Name of the cell.
    pub cell: String,
    /// `main`, or `gray` for replicas that a release has there besides.
    #[serde(default)]
    pub slot: String,
    /// Replicas decided.
    pub target: i32,
    /// Revision decided, shortened.
    pub revision: String,
}

/// Counts of the objects and replicas of an Application.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApplicationStatus {
    /// Objects that are to exist.
    pub objects: usize,
    /// Objects by state of their delivery. Objects of which nothing was observed are `Waiting`.
    pub states: BTreeMap<String, usize>,
    /// Replicas decided.
    pub target: i64,
    /// Ready replicas of the objects that take a share.
    pub ready: i64,
    /// Available replicas of them.
    pub available: i64,
    /// Time of the oldest observation; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<Timestamp>,
}

/// An object of an Application: `GET /applications/{ns}/{name}/placement`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlacedObject {
    /// Name of the component.
    pub component: String,
    /// Name of the cell.
    pub cell: String,
    /// `main`, or `gray` for an object that a release has there besides.
    #[serde(default)]
    pub slot: String,
    /// Revision decided, shortened.
    #[serde(default)]
    pub revision: String,
    /// Name of the cluster.
    pub cluster: String,
    /// Kind of the object.
    pub kind: String,
    /// Namespace in the member; empty for an object without one.
    pub namespace: String,
    /// Name in the member.
    pub name: String,
    /// `Present`, `Delete` or `Orphan`.
    pub desired: String,
    /// Replicas decided, where the object takes a share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<i32>,
    /// State of the delivery; `Waiting` before the first observation.
    pub state: String,
    /// Message of the member, or what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Ready replicas.
    pub ready: i32,
    /// Available replicas.
    pub available: i32,
    /// The numbers are out of date: the kind cannot be watched in the member.
    pub stale: bool,
    /// When the observation changed last; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<Timestamp>,
}
