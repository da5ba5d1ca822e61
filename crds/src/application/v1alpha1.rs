//! `Application`: one object for everything an application runs, in all places it runs in.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube_derive::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::placement_policy::v1alpha1::PlacementSpec;
use crate::selector::CellSelector;

/// One application: its components, where their replicas go and what differs between places.
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
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Policy","type":"string","priority":1,"jsonPath":".spec.placementPolicyRef.name"}"#,
    printcolumn = r#"{"name":"Message","type":"string","priority":1,"jsonPath":".status.conditions[?(@.type==\"Ready\")].message"}"#
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[x_kube(validation = ("has(self.placement) != has(self.placementPolicyRef)", "set exactly one of placement and placementPolicyRef"))]
#[x_kube(validation = ("!has(self.overrides) || self.overrides.all(o, o.patches.all(p, self.components.exists(c, c.name == p.component)))", "every override patch must name a component of this Application"))]
pub struct ApplicationSpec {
    /// Replicas of the Divided component over all cells. Required where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100_000))]
    pub replicas: Option<i32>,
    /// Run nothing: zero replicas everywhere, objects stay.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspended: bool,
    /// The objects the application is made of.
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(validation = ("self.all(a, self.exists_one(b, b.name == a.name))", "component names must be unique"))]
    pub components: Vec<Component>,
    /// Where replicas go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<PlacementSpec>,
    /// Where replicas go, by a `PlacementPolicy` of this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement_policy_ref: Option<PolicyRef>,
    /// What differs between places, applied in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub overrides: Vec<OverrideRule>,
    /// What happens when a delivered field is changed in a member.
    #[serde(default)]
    pub drift: DriftPolicy,
    /// What happens when an object is already there.
    #[serde(default)]
    pub adopt: AdoptPolicy,
    /// What happens to delivered objects when the Application is deleted.
    #[serde(default)]
    pub deletion: Deletion,
    /// What happens to replicas in a cluster that went silent.
    #[serde(default)]
    pub failover: Failover,
}

/// One object of the application.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Component {
    /// Name within the Application.
    #[schemars(length(min = 1, max = 63), pattern(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// How the object is multiplied. By the kind's default when left out; kinds without one must say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// What happens when the object is already there; as `spec.adopt` says when left out. A service account that Meridian did
    /// not make is taken over only by `Always` here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopt: Option<AdoptPolicy>,
    /// The object. Its namespace is the Application's.
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

/// How a component is multiplied over places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Scope {
    /// `spec.replicas` of the Application is divided over cells; one workload in each cell that holds a share.
    Divided,
    /// One object in every cell that holds replicas, with its own replicas as the template says.
    PerCell,
    /// One object in every cluster that holds replicas.
    PerCluster,
    /// One object in one cluster.
    Once,
}

/// Names a `PlacementPolicy` of the same namespace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolicyRef {
    /// Name of the policy.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// What differs in the selected cells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OverrideRule {
    /// Cells the rule holds for.
    pub cells: CellSelector,
    /// Changes, applied in order.
    #[schemars(length(min = 1, max = 16))]
    pub patches: Vec<OverridePatch>,
}

/// One change of one component.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[x_kube(validation = ("[has(self.image), has(self.env), has(self.args), has(self.command), has(self.labels), has(self.annotations), has(self.jsonPatch)].filter(set, set).size() == 1", "set exactly one of image, env, args, command, labels, annotations and jsonPatch"))]
#[x_kube(validation = ("!has(self.container) || has(self.image) || has(self.env) || has(self.args) || has(self.command)", "container goes with image, env, args or command"))]
pub struct OverridePatch {
    /// Component that changes.
    #[schemars(length(min = 1, max = 63))]
    pub component: String,
    /// Container that changes; the only one when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub container: Option<String>,
    /// Image of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub image: Option<String>,
    /// Environment variables set or replaced, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 64))]
    pub env: Option<BTreeMap<String, String>>,
    /// Arguments of the container, replacing all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(max = 4096)))]
    pub args: Option<Vec<String>>,
    /// Command of the container, replacing all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(max = 4096)))]
    pub command: Option<Vec<String>>,
    /// Labels of the object, set or replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 32))]
    pub labels: Option<BTreeMap<String, String>>,
    /// Annotations of the object, set or replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 32))]
    pub annotations: Option<BTreeMap<String, String>>,
    /// JSON patch (RFC 6902) of the whole object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    pub json_patch: Option<Vec<PatchOperation>>,
}

/// One operation of a JSON patch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PatchOperation {
    /// What is done.
    pub op: PatchOp,
    /// JSON pointer (RFC 6901) of the place.
    #[schemars(length(max = 1024), pattern(r"^(/.*)?$"))]
    pub path: String,
    /// JSON pointer of the source, for `move` and `copy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024), pattern(r"^(/.*)?$"))]
    pub from: Option<String>,
    /// The value, for `add`, `replace` and `test`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_value")]
    pub value: Option<serde_json::Value>,
}

/// Operations of a JSON patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PatchOp {
    /// Set a value, or insert into a list.
    Add,
    /// Remove a value.
    Remove,
    /// Set a value that is there.
    Replace,
    /// Move a value.
    Move,
    /// Copy a value.
    Copy,
    /// Refuse the whole patch unless the value is there.
    Test,
}

/// What happens when a delivered field is changed in a member.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DriftPolicy {
    /// Say so.
    #[default]
    Report,
    /// Put it back.
    Enforce,
}

/// What happens when an object is already there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AdoptPolicy {
    /// Refuse, naming its owner.
    #[default]
    Never,
    /// Take it when everything we would write is already so.
    IfIdentical,
    /// Take it.
    Always,
}

/// What happens to delivered objects when the Application is deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Deletion {
    /// Delete the objects, or leave them running.
    #[serde(default)]
    pub policy: DeletionPolicy,
    /// After this time a deletion that is not over says which cluster keeps it, such as `10m` or `1h30m`.
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

/// What happens to replicas in a cluster that went silent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[x_kube(validation = ("self.mode != 'Reschedule' || self.duplicates == 'Tolerate'", "mode Reschedule needs duplicates: Tolerate, because copies in the silent cluster may still run"))]
pub struct Failover {
    /// Wait for the cluster, or run the replicas elsewhere meanwhile.
    #[serde(default)]
    pub mode: FailoverMode,
    /// How long the cluster must have been silent, such as `30s` or `5m`.
    #[serde(default = "Failover::default_after")]
    #[schemars(length(min = 2, max = 16), pattern(r"^([0-9]+h)?([0-9]+m)?([0-9]+s)?$"))]
    pub after: String,
    /// Whether more copies than asked for may run while nobody knows what the silent cluster does.
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

/// What is done about replicas in a silent cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum FailoverMode {
    /// Nothing moves.
    #[default]
    Hold,
    /// They run elsewhere too, within capacity; nothing is deleted in the silent cluster.
    Reschedule,
}

/// Whether a replica may run twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Duplicates {
    /// Never knowingly.
    #[default]
    Refuse,
    /// While a cluster is silent and until its copies are removed after its return.
    Tolerate,
}

/// Whether delivered objects go with the Application.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// They are deleted.
    #[default]
    Delete,
    /// They stay; Meridian's labels and annotations are dropped.
    Orphan,
}

/// One truthful status for all places.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApplicationStatus {
    /// Generation the rest of the status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Current revision, shortened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Replicas asked for, of all components that have replicas: `spec.replicas` for the Divided one; for any other, the
    /// number of its template in each cell or cluster that was decided for it. Where a template states none, the number is
    /// the one last seen in the member, as its autoscaler sets it. Pods of a `Job` or `DaemonSet` do not count.
    #[serde(default)]
    pub desired: i32,
    /// Replicas the members are told to run: more than desired by overprovisioning or during a move.
    #[serde(default)]
    pub placed: i32,
    /// Ready replicas by fresh facts.
    #[serde(default)]
    pub ready: i32,
    /// Available replicas by fresh facts.
    #[serde(default)]
    pub available: i32,
    /// Replicas of the current revision by fresh facts.
    #[serde(default)]
    pub updated: i32,
    /// Of `desired` and `placed`, the part of the Divided component; absent when no component is Divided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub divided: Option<DividedReplicas>,
    /// Ready replicas last seen in places that are silent now; not part of `ready`.
    #[serde(default)]
    pub stale_ready: i32,
    /// Replicas per zone, for the table: `n1=4,n2=4,s1=4`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zones: Option<String>,
    /// Per cell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cells: Vec<CellReplicas>,
    /// Objects that are not as they should be, the worst first, at most 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<ObjectStatus>,
    /// The last decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// Revisions, the newest first, at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<RevisionRecord>,
    /// Deletes that wait for a person: hash of the plan, to be given to `meridian app confirm-delete`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending_deletes: Option<PendingDeletes>,
    /// While `Ready` says `IntentSourceLost`: what was taken in and stays in force. `meridian intake accept` names it beside
    /// the spec that takes its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent_taken: Option<String>,
    /// Conditions: `Ready`, `Scheduled`, `ZoneSpreadSatisfied`, `RebalanceNeeded`, `Drifted`, `DeletionBlocked`,
    /// `FailoverFrozen`, `Reconciling`, `Stalled`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// The part of the Divided component.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DividedReplicas {
    /// Replicas decided; for the whole Application `spec.replicas`, or 0 while it is suspended.
    pub desired: i32,
    /// Replicas members are told to run.
    pub placed: i32,
}

/// One cell's part.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CellReplicas {
    /// Cell.
    pub cell: String,
    /// Its cluster.
    pub cluster: String,
    /// Its region.
    pub region: String,
    /// Its zone; several, joined by `+`, for an undeclared cell of a cluster that spans them.
    pub zone: String,
    /// Replicas decided, of all components that have replicas there. What is there once per cluster counts in the cell
    /// that has the name of the cluster.
    pub desired: i32,
    /// Replicas the member is told to run now.
    pub placed: i32,
    /// Of `desired` and `placed`, the part of the Divided component; absent when nothing of it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub divided: Option<DividedReplicas>,
    /// Ready replicas.
    pub ready: i32,
    /// Available replicas.
    pub available: i32,
    /// Ready replicas by zone, where the cell spans several; empty before they were counted.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ready_by_zone: BTreeMap<String, i32>,
    /// Replicas of the revision below.
    pub updated: i32,
    /// Revision the cell is told to run, shortened.
    pub revision: String,
    /// When the numbers were last known to be true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<Time>,
    /// The numbers are too old to count.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stale: bool,
    /// What is wrong, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// An object that is not as it should be.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectStatus {
    /// Cluster.
    pub cluster: String,
    /// Component; empty for an object that no component declares any more.
    pub component: String,
    /// Kind.
    pub kind: String,
    /// Name in the member.
    pub name: String,
    /// One word: `Pending`, `Refused`, `Failed`, `Drifted`, `Deleting`, `Released`.
    pub state: String,
    /// The member's own message, or ours with the remedy.
    pub message: String,
}

/// A placement decision as kept for people.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// When it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
    /// Hash of everything it was made from.
    pub input_hash: String,
    /// Sentence: what was decided and why.
    pub summary: String,
    /// Inputs that changed since the decision before, at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<String>,
    /// Replicas that found no place.
    #[serde(default)]
    pub shortfall: i32,
    /// Replicas a rebalance would move.
    #[serde(default)]
    pub rebalance: i32,
    /// Hash that `meridian rebalance` would confirm, when there is something to move.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rebalance_plan: Option<String>,
    /// Per cell: numbers before and after, and the rule or limit that bound.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cells: Vec<CellDecision>,
}

/// What was decided for one cell.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CellDecision {
    /// Cell.
    pub cell: String,
    /// Replicas before.
    pub before: i32,
    /// Replicas decided.
    pub target: i32,
    /// `Eligible`, or the rule that rejected the cell.
    pub verdict: String,
    /// Which limit bound, and other remarks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A revision as kept for people.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RevisionRecord {
    /// Revision, shortened.
    pub revision: String,
    /// When it was taken in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
    /// It was fully ready once, so it may be rolled back to.
    #[serde(default)]
    pub was_ready: bool,
}

/// Deletes that wait for a person.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PendingDeletes {
    /// Hash of the plan.
    pub plan: String,
    /// Objects that would go, as `cluster: Kind name`, at most 50.
    pub objects: Vec<String>,
    /// How many in all.
    pub count: i32,
    /// Why they wait.
    pub reason: String,
}
