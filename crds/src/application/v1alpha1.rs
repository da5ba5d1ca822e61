//! `Application`: one object for all components of an application in all its clusters.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube_derive::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::application::release::{Release, ReleaseStatus};
use crate::placement_policy::v1alpha1::PlacementSpec;
use crate::selector::CellSelector;

/// An application: its components, the placement of its replicas, and the differences between cells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "fleet.meridian.io",
    version = "v1alpha1",
    kind = "Application",
    plural = "applications",
    shortname = "mapp",
    category = "meridian",
    namespaced,
    status = "ApplicationStatus",
    scale = r#"{"specReplicasPath":".spec.replicas","statusReplicasPath":".status.ready"}"#,
    derive = "PartialEq",
    crates(kube_core = "::kube_core"),
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Desired","type":"integer","jsonPath":".status.desired"}"#,
    printcolumn = r#"{"name":"Placed","type":"integer","jsonPath":".status.placed"}"#,
    printcolumn = r#"{"name":"Available","type":"integer","jsonPath":".status.available"}"#,
    printcolumn = r#"{"name":"Zones","type":"string","jsonPath":".status.zones"}"#,
    printcolumn = r#"{"name":"Revision","type":"string","jsonPath":".status.revision"}"#,
    printcolumn = r#"{"name":"Release","type":"string","jsonPath":".status.release.progress"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Policy","type":"string","priority":1,"jsonPath":".spec.placementPolicyRef.name"}"#,
    printcolumn = r#"{"name":"Message","type":"string","priority":1,"jsonPath":".status.conditions[?(@.type==\"Ready\")].message"}"#
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[x_kube(validation = ("has(self.placement) != has(self.placementPolicyRef)", "set exactly one of placement and placementPolicyRef"))]
#[x_kube(validation = ("!has(self.overrides) || self.overrides.all(o, o.patches.all(p, self.components.exists(c, c.name == p.component)))", "every override patch must name a component of this Application"))]
pub struct ApplicationSpec {
    /// Number of replicas of the Divided component over all cells. Required when a component is Divided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100_000))]
    pub replicas: Option<i32>,
    /// Scales the Application to zero replicas in every cell. Its objects stay in the members.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspended: bool,
    /// Objects of the application.
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(validation = ("self.all(a, self.exists_one(b, b.name == a.name))", "component names must be unique"))]
    pub components: Vec<Component>,
    /// Placement of the replicas. Exclusive with `placementPolicyRef`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<PlacementSpec>,
    /// Reference to a `PlacementPolicy` of this namespace that places the replicas. Exclusive with `placement`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement_policy_ref: Option<PolicyRef>,
    /// Changes to components in selected cells. Meridian applies the rules in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub overrides: Vec<OverrideRule>,
    /// Reaction to a change of a delivered field in a member.
    #[serde(default)]
    pub drift: DriftPolicy,
    /// Reaction to an object that already exists in a member.
    #[serde(default)]
    pub adopt: AdoptPolicy,
    /// Treatment of delivered objects when the Application is deleted.
    #[serde(default)]
    pub deletion: Deletion,
    /// Treatment of replicas in a silent cluster.
    #[serde(default)]
    pub failover: Failover,
    /// How a new revision reaches the pods. Defaults to cell by cell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<Release>,
}

/// An object of the application.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Component {
    /// Name of the component, unique within the Application.
    #[schemars(length(min = 1, max = 63), pattern(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// How often the object exists. Defaults to the scope of its kind. A kind without a default scope requires a value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// Reaction to an object that already exists in a member. Defaults to `spec.adopt`.
    ///
    /// A service account that Meridian did not create is adopted only when this field is `Always`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopt: Option<AdoptPolicy>,
    /// Template of the object. Its namespace is the namespace of the Application.
    #[schemars(schema_with = "embedded_resource")]
    pub template: serde_json::Value,
}

fn embedded_resource(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "x-kubernetes-embedded-resource": true,
        "x-kubernetes-preserve-unknown-fields": true,
    })
}

fn any_value(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "x-kubernetes-preserve-unknown-fields": true })
}

/// How often the object of a component exists.
///
/// `Divided`: one workload in each cell with a share of `spec.replicas`. `PerCell`: one object in each cell that holds
/// replicas. `PerCluster`: one object in each cluster that holds replicas. `Once`: one object in one cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Scope {
    /// Divides `spec.replicas` of the Application over cells. Each cell with a share has one workload.
    Divided,
    /// One object in each cell that holds replicas. The template sets the number of its own replicas.
    PerCell,
    /// One object in each cluster that holds replicas.
    PerCluster,
    /// One object in one cluster.
    Once,
}

/// Reference to a `PlacementPolicy` of the same namespace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolicyRef {
    /// Name of the `PlacementPolicy`.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// Changes to components in the selected cells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OverrideRule {
    /// Cells in which the rule applies.
    pub cells: CellSelector,
    /// Changes of the rule. Meridian applies them in order.
    #[schemars(length(min = 1, max = 16))]
    pub patches: Vec<OverridePatch>,
}

/// A change of one component. Sets exactly one of `image`, `env`, `args`, `command`, `labels`, `annotations` and
/// `jsonPatch`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[x_kube(validation = ("[has(self.image), has(self.env), has(self.args), has(self.command), has(self.labels), has(self.annotations), has(self.jsonPatch)].filter(set, set).size() == 1", "set exactly one of image, env, args, command, labels, annotations and jsonPatch"))]
#[x_kube(validation = ("!has(self.container) || has(self.image) || has(self.env) || has(self.args) || has(self.command)", "container goes with image, env, args or command"))]
pub struct OverridePatch {
    /// Name of the component to change.
    #[schemars(length(min = 1, max = 63))]
    pub component: String,
    /// Name of the container to change. Defaults to the only container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub container: Option<String>,
    /// Image of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub image: Option<String>,
    /// Environment variables of the container, by name. Adds a variable or replaces its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 64))]
    pub env: Option<BTreeMap<String, String>>,
    /// Arguments of the container. Replaces all arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(max = 4096)))]
    pub args: Option<Vec<String>>,
    /// Command of the container. Replaces the whole command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(max = 4096)))]
    pub command: Option<Vec<String>>,
    /// Labels of the object. Adds a label or replaces its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 32))]
    pub labels: Option<BTreeMap<String, String>>,
    /// Annotations of the object. Adds an annotation or replaces its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 32))]
    pub annotations: Option<BTreeMap<String, String>>,
    /// JSON patch (RFC 6902) of the whole object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    pub json_patch: Option<Vec<PatchOperation>>,
}

/// An operation of a JSON patch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PatchOperation {
    /// Type of the operation.
    pub op: PatchOp,
    /// JSON pointer (RFC 6901) to the changed or tested value.
    #[schemars(length(max = 1024), pattern(r"^(/.*)?$"))]
    pub path: String,
    /// JSON pointer (RFC 6901) to the source value, for `move` and `copy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024), pattern(r"^(/.*)?$"))]
    pub from: Option<String>,
    /// Value for `add`, `replace` and `test`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_value")]
    pub value: Option<serde_json::Value>,
}

/// Types of JSON patch operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PatchOp {
    /// Sets a value, or inserts a value into a list.
    Add,
    /// Removes a value.
    Remove,
    /// Replaces an existing value.
    Replace,
    /// Moves a value.
    Move,
    /// Copies a value.
    Copy,
    /// Rejects the whole patch unless the target has the given value.
    Test,
}

/// Reaction to a change of a delivered field in a member.
///
/// `Report` reports the change. `Enforce` reverts the change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DriftPolicy {
    /// Reports the change in status.
    #[default]
    Report,
    /// Reverts the change.
    Enforce,
}

/// Reaction to an object that already exists in a member.
///
/// `Never` leaves the object and reports its owner. `IfIdentical` adopts the object when every field that Meridian
/// would write has the same value. `Always` adopts the object. A service account that Meridian did not create is
/// adopted only when its own component sets `Always`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AdoptPolicy {
    /// Leaves the object alone and reports its owner.
    #[default]
    Never,
    /// Adopts the object when every field that Meridian would write already has the same value.
    IfIdentical,
    /// Adopts the object, whatever its content.
    Always,
}

/// Treatment of delivered objects when the Application is deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Deletion {
    /// Whether the delivered objects are deleted (`Delete`) or stay and keep running (`Orphan`).
    #[serde(default)]
    pub policy: DeletionPolicy,
    /// Time until an unfinished deletion reports the clusters that delay it, such as `10m` or `1h30m`.
    #[serde(default = "Deletion::default_deadline")]
    #[schemars(length(min = 2, max = 16), pattern(r"^([0-9]+h)?([0-9]+m)?([0-9]+s)?$"))]
    pub deadline: String,
}

impl Deletion {
    fn default_deadline() -> String {
        "10m".to_owned()
    }
}

impl Default for Deletion {
    fn default() -> Self {
        Self { policy: DeletionPolicy::default(), deadline: Self::default_deadline() }
    }
}

/// Treatment of replicas in a silent cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[x_kube(validation = ("self.mode != 'Reschedule' || self.duplicates == 'Tolerate'", "mode Reschedule needs duplicates: Tolerate, because copies in the silent cluster may still run"))]
pub struct Failover {
    /// Whether Meridian waits for the cluster (`Hold`) or also runs the replicas elsewhere (`Reschedule`).
    #[serde(default)]
    pub mode: FailoverMode,
    /// Time that a cluster must be silent before failover, such as `30s` or `5m`.
    #[serde(default = "Failover::default_after")]
    #[schemars(length(min = 2, max = 16), pattern(r"^([0-9]+h)?([0-9]+m)?([0-9]+s)?$"))]
    pub after: String,
    /// Whether more replicas than requested may run while the state of the silent cluster is unknown.
    #[serde(default)]
    pub duplicates: Duplicates,
}

impl Failover {
    fn default_after() -> String {
        "5m".to_owned()
    }
}

impl Default for Failover {
    fn default() -> Self {
        Self { mode: FailoverMode::default(), after: Self::default_after(), duplicates: Duplicates::default() }
    }
}

/// Treatment of replicas in a silent cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum FailoverMode {
    /// Moves no replicas.
    #[default]
    Hold,
    /// Also runs the replicas elsewhere, within capacity. Meridian deletes nothing in the silent cluster.
    Reschedule,
}

/// Whether a replica may run twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Duplicates {
    /// Meridian never knowingly runs a replica twice.
    #[default]
    Refuse,
    /// A replica may run twice while a cluster is silent.
    ///
    /// This ends when the copies in the cluster are removed after its return.
    Tolerate,
}

/// Treatment of delivered objects when the Application is deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// Deletes the objects.
    ///
    /// When no user deleted the Application, but its namespace or its CRD is being deleted, the objects stay as under
    /// `Orphan`. A confirmation or an earlier start of the deletion takes precedence.
    #[default]
    Delete,
    /// Keeps the objects and removes Meridian's labels and annotations from them.
    Orphan,
}

/// Observed state of an Application in all clusters.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApplicationStatus {
    /// Generation of the spec that the rest of the status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Current revision, shortened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Number of requested replicas of all components that have replicas.
    ///
    /// The Divided component counts with `spec.replicas`. Any other component counts with the number of its template,
    /// once for each cell or cluster decided for the component. A template without a number counts with the number last
    /// seen in the member, as set by its autoscaler. Pods of a `Job` or `DaemonSet` do not count.
    #[serde(default)]
    pub desired: i32,
    /// Number of replicas that the members are to run. Higher than `desired` by overprovisioning or during a move.
    #[serde(default)]
    pub placed: i32,
    /// Number of ready replicas. Stale facts do not count.
    #[serde(default)]
    pub ready: i32,
    /// Number of available replicas. Stale facts do not count.
    #[serde(default)]
    pub available: i32,
    /// Number of replicas of the current revision. Stale facts do not count.
    #[serde(default)]
    pub updated: i32,
    /// Part of `desired` and `placed` that belongs to the Divided component. Absent when no component is Divided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub divided: Option<DividedReplicas>,
    /// Number of ready replicas last seen in cells that are stale now. Not part of `ready`.
    #[serde(default)]
    pub stale_ready: i32,
    /// Replicas per zone for the printed table, such as `n1=4,n2=4,s1=4`.
    ///
    /// A cell with `readyByZone` counts with its ready replicas. Any other cell counts with its placed replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zones: Option<String>,
    /// Replicas of each cell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cells: Vec<CellReplicas>,
    /// Objects that are not in their desired state, the worst first. At most 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<ObjectStatus>,
    /// Last placement decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// Revisions, the newest first. At most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<RevisionRecord>,
    /// The newest release. Absent where every revision went cell by cell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<ReleaseStatus>,
    /// Deletes that wait for a user. `meridian app confirm-delete` takes the hash of their plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending_deletes: Option<PendingDeletes>,
    /// Name of the stored intent that stays in force while `Ready` has the reason `IntentSourceLost`.
    ///
    /// `meridian intake accept` names both this intent and the spec that replaces the intent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent_taken: Option<String>,
    /// Conditions: `Ready`, `Scheduled`, `ZoneSpreadSatisfied`, `LossSurvivable`, `RebalanceNeeded`, `Drifted`,
    /// `DeletionBlocked`, `FailoverFrozen`, `Reconciling`, `Stalled`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// Replicas of the Divided component.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DividedReplicas {
    /// Number of replicas decided. For the whole Application `spec.replicas`, or 0 while the Application is suspended.
    pub desired: i32,
    /// Number of replicas that the members are to run.
    pub placed: i32,
}

/// Replicas of an Application in one cell.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CellReplicas {
    /// Name of the cell.
    pub cell: String,
    /// Cluster of the cell.
    pub cluster: String,
    /// Region of the cell.
    pub region: String,
    /// Zone of the cell. Several zones, joined by `+`, for the implicit cell of a cluster over zones.
    pub zone: String,
    /// Number of replicas decided, of all components that have replicas in the cell.
    ///
    /// An object that exists once per cluster counts in the cell with the name of the cluster.
    pub desired: i32,
    /// Number of replicas that the member is to run now.
    pub placed: i32,
    /// Part of `desired` and `placed` that belongs to the Divided component. Absent when the cell has none of that
    /// component.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub divided: Option<DividedReplicas>,
    /// Number of ready replicas.
    pub ready: i32,
    /// Number of available replicas.
    pub available: i32,
    /// Number of ready replicas by zone, for a cell over several zones. Empty until the replicas are counted.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ready_by_zone: BTreeMap<String, i32>,
    /// Number of replicas of the revision in `revision`.
    pub updated: i32,
    /// Revision that the cell is to run, shortened.
    pub revision: String,
    /// Time at which the numbers were last confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<Time>,
    /// Whether the numbers do not count.
    ///
    /// They do not count when they are too old, the cluster is not healthy, or a kind cannot be watched there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stale: bool,
    /// Problem of the cell, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// State of an object that is not in its desired state.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectStatus {
    /// Cluster of the object.
    pub cluster: String,
    /// Name of the component. Empty for an object that no component declares any more.
    pub component: String,
    /// Kind of the object.
    pub kind: String,
    /// Name of the object in the member.
    pub name: String,
    /// State in one word: `Pending`, `Refused`, `Failed`, `Drifted`, `Deleting` or `Released`.
    pub state: String,
    /// Message of the member, or of Meridian with the remedy.
    pub message: String,
}

/// A placement decision, recorded for users.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// Time of the decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
    /// Hash of all inputs of the decision.
    pub input_hash: String,
    /// Sentence with the result of the decision and its reason.
    pub summary: String,
    /// Inputs that changed since the previous decision. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<String>,
    /// Number of replicas without a place.
    #[serde(default)]
    pub shortfall: i32,
    /// Number of replicas that a rebalance would move.
    #[serde(default)]
    pub rebalance: i32,
    /// Hash that `meridian rebalance` would confirm. Absent when a rebalance would move nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rebalance_plan: Option<String>,
    /// Decision for each cell: replicas before and after, and the rule or limit that applied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cells: Vec<CellDecision>,
}

/// Part of a placement decision for one cell.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CellDecision {
    /// Name of the cell.
    pub cell: String,
    /// Number of replicas before the decision.
    pub before: i32,
    /// Number of replicas decided.
    pub target: i32,
    /// `Eligible`, or the rule that rejected the cell.
    pub verdict: String,
    /// Limit that bound the number of replicas, and other remarks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A revision, recorded for users.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RevisionRecord {
    /// Hash of the revision, shortened.
    pub revision: String,
    /// Time at which intake stored the revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
    /// Whether the revision was fully ready once, so that a user may roll back to the revision.
    #[serde(default)]
    pub was_ready: bool,
}

/// Deletes that wait for a user. `meridian app confirm-delete` takes the hash of their plan.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PendingDeletes {
    /// Hash of the plan.
    pub plan: String,
    /// Objects to delete, as `cluster: Kind name`. At most 50.
    pub objects: Vec<String>,
    /// Total number of objects to delete.
    pub count: i32,
    /// Reason why the deletes wait.
    pub reason: String,
}
