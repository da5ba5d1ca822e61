//! `Cluster`: a member cluster.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube_derive::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A member cluster: where it lies, how it is reached and what a person wants of it.
/// The credential is not here: it is handed over as a Secret and then sealed in the database.
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
    /// Region the cluster lies in.
    #[schemars(length(min = 1, max = 63), pattern(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub region: String,
    /// Zones the cluster lies in.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 63)))]
    pub zones: Vec<String>,
    /// One Cell per zone, named `<cluster>-<zone>`: the operator makes those that are missing. It changes and deletes none: a
    /// Cell whose zone is gone from `zones` keeps what runs in it until a person deletes it. What ran in the cluster before
    /// stays as it is; new replicas go to the Cells.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cell_per_zone: bool,
    /// Keeps replicas away unless an Application tolerates the key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub taints: Vec<Taint>,
    /// No new replicas; what runs stays.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cordoned: bool,
    /// Move replicas away, each only after its successor is available elsewhere. Implies cordoned.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub drain: bool,
    /// What Meridian may do in the member.
    #[serde(default = "default_profiles")]
    #[schemars(length(min = 1, max = 8))]
    pub profiles: Vec<Profile>,
    /// How the member's API server is reached.
    pub connection: Connection,
    /// Hub namespaces whose Applications the cluster takes. Those of Kubernetes and Meridian (`kube-*`, `meridian-*`) are
    /// always denied.
    #[serde(default, skip_serializing_if = "NamespaceRules::is_empty")]
    pub namespaces: NamespaceRules,
    /// Service accounts that pods may run as beside those that are components of their own Application; `default` when
    /// left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 253)))]
    pub service_accounts: Option<Vec<String>>,
    /// UID of the member's kube-system namespace: tells the member from another one under the same name.
    #[schemars(length(min = 1, max = 64))]
    pub uid: String,
}

fn default_profiles() -> Vec<Profile> {
    vec![Profile::Observe, Profile::Deploy]
}

/// A named set of rights in a member, printed by `meridian cluster permissions`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Read nodes, namespaces and pods.
    Observe,
    /// Write the workload kinds Meridian delivers.
    Deploy,
}

/// Namespaces, by name or by a beginning followed by `*`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NamespaceRules {
    /// Only these; all when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 64), pattern(r"^([a-z0-9][-a-z0-9]*)?\*?$")))]
    pub allow: Vec<String>,
    /// Not these, also where `allow` names them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 64), pattern(r"^([a-z0-9][-a-z0-9]*)?\*?$")))]
    pub deny: Vec<String>,
}

impl NamespaceRules {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty()
    }
}

/// How the member's API server is reached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Connection {
    /// URL of the API server.
    #[schemars(length(min = 8, max = 1024), pattern(r"^https://"))]
    pub server: String,
    /// Certificates of the authority that signed the server's certificate, base64 of PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 65536))]
    pub certificate_authority_data: Option<String>,
    /// Name expected in the server's certificate, where it differs from the host of the URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub tls_server_name: Option<String>,
    /// Proxy that leads to the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024), pattern(r"^(http|socks5)://"))]
    pub proxy_url: Option<String>,
}

/// Keeps replicas away from a cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Taint {
    /// Taint key.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,
    /// Taint value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub value: Option<String>,
}

/// What is known of a member.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterStatus {
    /// Generation the rest of the status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// When the member last gave a sign of life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<Time>,
    /// Kubernetes version of the member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Version of what `meridian cluster join` installed in the member. Where it is older than what this Meridian brings,
    /// `PermissionsSufficient` is False with reason `MemberOutdated`; the cluster goes on taking replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub installation: Option<i32>,
    /// Zones as one word, for the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone_names: Option<String>,
    /// Applications with an object in the cluster.
    #[serde(default)]
    pub apps: i64,
    /// When the credential ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential_expires_at: Option<Time>,
    /// Capacity per zone, exactly what decisions used last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub zones: Vec<ZoneCapacity>,
    /// Kinds that may be delivered there, as `group/version/Kind` (`version/Kind` for the core group).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<String>,
    /// Conditions: `Ready`, and the signals it is made of: `Reachable`, `WatchFresh`, `NodesReady`; `PermissionsSufficient`,
    /// `Cordoned`.
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
    /// Pods.
    pub pods: i64,
}

impl Amounts {
    /// Largest CPU, in thousandths of a core, that one pod or node counts for: a million cores.
    ///
    /// # Guarantees
    /// `i32::MAX` pods of this size, and of [`Amounts::MEMORY_MI_MAX`], fit into an `i64`.
    pub const CPU_MILLI_MAX: i64 = 1_000_000_000;
    /// Largest memory, in MiB, that one pod or node counts for: one PiB.
    pub const MEMORY_MI_MAX: i64 = 1 << 30;

    /// Adds an amount a number of times; a negative number subtracts. The result stays at the limits of `i64`.
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
    /// Zone.
    pub name: String,
    /// What schedulable, ready nodes offer.
    pub allocatable: Amounts,
    /// What all pods bound to those nodes ask for.
    pub requested: Amounts,
    /// Of `requested`, what pods ask for that Meridian did not place.
    pub foreign: Amounts,
    /// What Applications hold by decision, running or not.
    pub reserved: Amounts,
    /// Free amounts per node, in at most 32 groups of alike nodes, each rounded down.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shapes: Vec<Shape>,
}

/// A group of nodes with about the same free amounts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Shape {
    /// Free on each node of the group.
    pub free: Amounts,
    /// Nodes in the group.
    pub nodes: i32,
}
