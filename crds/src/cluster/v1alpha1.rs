//! `Cluster`: a member cluster.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube_derive::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A member cluster: its location, its connection and the settings that a user chose.
///
/// The object does not contain the credential. A Secret hands over the credential, which is then sealed in the
/// database.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "fleet.meridian.io",
    version = "v1alpha1",
    kind = "Cluster",
    plural = "clusters",
    shortname = "mcl",
    category = "meridian",
    status = "ClusterStatus",
    derive = "PartialEq",
    crates(kube_core = "::kube_core"),
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Region","type":"string","jsonPath":".spec.region"}"#,
    printcolumn = r#"{"name":"Zone","type":"string","jsonPath":".status.zoneNames"}"#,
    printcolumn = r#"{"name":"Version","type":"string","jsonPath":".status.version"}"#,
    printcolumn = r#"{"name":"Apps","type":"integer","jsonPath":".status.apps"}"#,
    printcolumn = r#"{"name":"Heartbeat","type":"date","jsonPath":".status.asOf"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Cordoned","type":"boolean","priority":1,"jsonPath":".spec.cordoned"}"#,
    printcolumn = r#"{"name":"Server","type":"string","priority":1,"jsonPath":".spec.connection.server"}"#,
    printcolumn = r#"{"name":"Message","type":"string","priority":1,"jsonPath":".status.conditions[?(@.type==\"Ready\")].message"}"#
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(crates(kube_core = "::kube_core"))]
pub struct ClusterSpec {
    /// Region of the cluster.
    #[schemars(length(min = 1, max = 63), pattern(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub region: String,
    /// Zones of the cluster.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 63)))]
    pub zones: Vec<String>,
    /// Declares one Cell per zone, named `<cluster>-<zone>`.
    ///
    /// The operator creates missing Cells, and never changes or deletes one. A Cell whose zone is no longer in `zones`
    /// keeps its workloads until a user deletes the Cell. Workloads that ran in the cluster before stay unchanged. New
    /// replicas go to the Cells.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cell_per_zone: bool,
    /// Taints that keep new replicas away, unless the placement policy tolerates each of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub taints: Vec<Taint>,
    /// Stops new replicas. Existing replicas stay.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cordoned: bool,
    /// Moves replicas away, each only after its successor is available elsewhere. Implies `cordoned`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub drain: bool,
    /// Rights of Meridian in the member.
    #[serde(default = "default_profiles")]
    #[schemars(length(min = 1, max = 8))]
    pub profiles: Vec<Profile>,
    /// Connection to the API server of the member.
    pub connection: Connection,
    /// Hub namespaces whose Applications the cluster accepts.
    ///
    /// Namespaces of Kubernetes and Meridian (`kube-*`, `meridian-*`) are always denied.
    #[serde(default, skip_serializing_if = "NamespaceRules::is_empty")]
    pub namespaces: NamespaceRules,
    /// Service accounts that pods may use besides those that are components of their own Application.
    ///
    /// Defaults to the account `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 253)))]
    pub service_accounts: Option<Vec<String>>,
    /// UID of the member's kube-system namespace. Distinguishes the member from another one under the same name.
    #[schemars(length(min = 1, max = 64))]
    pub uid: String,
}

fn default_profiles() -> Vec<Profile> {
    vec![Profile::Observe, Profile::Deploy]
}

/// A named set of rights in a member. `meridian cluster permissions` prints the rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Reads nodes, namespaces and pods.
    Observe,
    /// Writes the workload kinds that Meridian delivers.
    Deploy,
}

/// Rules for namespaces. An entry is a name, or a prefix followed by `*`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NamespaceRules {
    /// Namespaces that the cluster accepts. An empty list accepts all namespaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 64), pattern(r"^([a-z0-9][-a-z0-9]*)?\*?$")))]
    pub allow: Vec<String>,
    /// Namespaces that the cluster denies. Takes precedence over `allow`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 64), pattern(r"^([a-z0-9][-a-z0-9]*)?\*?$")))]
    pub deny: Vec<String>,
}

impl NamespaceRules {
    /// Returns whether neither list has an entry.
    pub fn is_empty(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty()
    }
}

/// Connection to the API server of the member.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Connection {
    /// URL of the API server.
    #[schemars(length(min = 8, max = 1024), pattern(r"^https://"))]
    pub server: String,
    /// Certificates of the authority that signed the server's certificate, as base64 of PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 65536))]
    pub certificate_authority_data: Option<String>,
    /// Name expected in the server's certificate, if different from the host of the URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub tls_server_name: Option<String>,
    /// URL of the proxy that leads to the API server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024), pattern(r"^(http|socks5)://"))]
    pub proxy_url: Option<String>,
}

/// A taint that keeps new replicas away from a cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Taint {
    /// Key of the taint.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,
    /// Value of the taint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub value: Option<String>,
}

/// Observed state of a member.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterStatus {
    /// Generation of the spec that the rest of the status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Time of the last sign of life of the member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<Time>,
    /// Kubernetes version of the member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Version of the objects that `meridian cluster join` installed in the member.
    ///
    /// When this version is older than that of the running Meridian, `PermissionsSufficient` is False with reason
    /// `MemberOutdated`. The cluster continues to accept replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub installation: Option<i32>,
    /// Names of the zones, joined by commas, for the printed table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone_names: Option<String>,
    /// Number of Applications with an object in the cluster.
    #[serde(default)]
    pub apps: i64,
    /// Expiry time of the credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential_expires_at: Option<Time>,
    /// Capacity per zone, as stored for placement decisions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub zones: Vec<ZoneCapacity>,
    /// Deliverable kinds, as `group/version/Kind` (`version/Kind` for the core group).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<String>,
    /// Conditions: `Ready` and its signals `Reachable`, `WatchFresh` and `NodesReady`; `PermissionsSufficient`,
    /// `Cordoned`. `Stalled` when the operator refuses or cannot read the Cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// Amounts of the three resources that placement counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Amounts {
    /// CPU in thousandths of a core.
    pub cpu_milli: i64,
    /// Memory in MiB.
    pub memory_mi: i64,
    /// Number of pods.
    pub pods: i64,
}

impl Amounts {
    /// Maximum CPU, in thousandths of a core, that one pod or node counts for: a million cores.
    ///
    /// # Guarantees
    /// `i32::MAX` pods of this size, and of [`Amounts::MEMORY_MI_MAX`], fit into an `i64`.
    pub const CPU_MILLI_MAX: i64 = 1_000_000_000;
    /// Maximum memory, in MiB, that one pod or node counts for: one PiB.
    pub const MEMORY_MI_MAX: i64 = 1 << 30;

    /// Adds an amount `times` times. A negative number subtracts. The sums saturate at the limits of `i64`.
    #[must_use]
    pub fn plus_times(self, more: Self, times: i64) -> Self {
        let sum = |sum: i64, more: i64| sum.saturating_add(more.saturating_mul(times));
        Self {
            cpu_milli: sum(self.cpu_milli, more.cpu_milli),
            memory_mi: sum(self.memory_mi, more.memory_mi),
            pods: sum(self.pods, more.pods),
        }
    }
}

/// Capacity of one zone of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ZoneCapacity {
    /// Name of the zone.
    pub name: String,
    /// Allocatable amounts of all schedulable, ready nodes.
    pub allocatable: Amounts,
    /// Amounts that all pods bound to those nodes request.
    pub requested: Amounts,
    /// Part of `requested` that belongs to pods not placed by Meridian.
    pub foreign: Amounts,
    /// Amounts that Applications hold by decision, running or not.
    pub reserved: Amounts,
    /// Free amounts per node, in at most 32 groups of similar nodes. Each amount is rounded down.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shapes: Vec<Shape>,
}

/// A group of nodes with about the same free amounts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Shape {
    /// Free amounts of each node of the group.
    pub free: Amounts,
    /// Number of nodes in the group.
    pub nodes: i32,
}
