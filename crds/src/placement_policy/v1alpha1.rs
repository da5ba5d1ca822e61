//! `PlacementPolicy`: placement of replicas, shared by Applications of one namespace.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube_derive::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::selector::CellSelector;

/// Placement of replicas over cells: an Application's `spec.placement`, or a shared `PlacementPolicy`.
///
/// Order of precedence: eligibility, hard limits, no running replica moves, minimum, spread and `surviveLoss`, shares,
/// weights. Tiers set the order in which cells are filled.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "fleet.meridian.io",
    version = "v1alpha1",
    kind = "PlacementPolicy",
    plural = "placementpolicies",
    shortname = "mpp",
    category = "meridian",
    namespaced,
    derive = "PartialEq",
    crates(kube_core = "::kube_core"),
    printcolumn = r#"{"name":"Weights","type":"string","jsonPath":".spec.weights.mode"}"#,
    printcolumn = r#"{"name":"Spread","type":"string","jsonPath":".spec.spread[*].topology"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(crates(kube_core = "::kube_core"))]
pub struct PlacementSpec {
    /// Cells that may hold replicas. Defaults to all cells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cells: Option<CellSelector>,
    /// Taints of clusters that do not keep replicas away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub tolerations: Vec<Toleration>,
    /// Even distribution of replicas over topology domains.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    #[x_kube(validation = ("self.all(a, self.exists_one(b, b.topology == a.topology))", "one spread constraint per topology"))]
    pub spread: Vec<SpreadConstraint>,
    /// Minimum and maximum number of replicas in any one topology domain.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    #[x_kube(validation = ("self.all(a, self.exists_one(b, b.topology == a.topology))", "one limit per topology"))]
    pub limits: Vec<Limit>,
    /// Replicas of named cells: an exact number, or a percentage (rounded down). The other cells share the remaining
    /// replicas.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    // The form of a percentage is checked at intake: a pattern over 64 strings exceeds the API server's cost limit.
    #[x_kube(validation = ("self.all(cell, type(self[cell]) != int || int(self[cell]) >= 0)", "a share is a number of replicas of at least 0, or a percentage from \"0%\" to \"100%\""))]
    pub shares: BTreeMap<String, IntOrString>,
    /// Weights by which the remaining replicas are divided over cells.
    #[serde(default)]
    pub weights: Weights,
    /// Order in which cells are filled. The next tier receives replicas only when the previous tier is full.
    ///
    /// A cell that no tier names comes last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub tiers: Vec<Tier>,
    /// Keeps the two cells of a pair in different zones.
    ///
    /// The halves A and B of a unit never depend on one zone alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub separate_pairs: bool,
}

/// A toleration, which ignores one taint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Toleration {
    /// Key of the taint.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,
    /// Value of the taint. Any value when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub value: Option<String>,
}

/// Type of a topology domain: region, zone, member cluster or cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Topology {
    /// Each region is a domain.
    Region,
    /// Each zone is a domain, identified by (region, zone).
    Zone,
    /// Each member cluster is a domain.
    Cluster,
    /// Each cell is a domain.
    Cell,
}

/// Even distribution of replicas over the domains of one topology.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[x_kube(validation = ("!has(self.surviveLoss) || !has(self.minDomains) || self.surviveLoss.domains < self.minDomains", "surviveLoss.domains must be lower than minDomains"))]
pub struct SpreadConstraint {
    /// Domains that the constraint compares.
    pub topology: Topology,
    /// Maximum difference in replicas between two domains. Unlimited when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000))]
    pub max_skew: Option<i32>,
    /// Minimum number of domains that hold replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 64))]
    pub min_domains: Option<i32>,
    /// Reaction to a constraint that cannot hold.
    #[serde(default)]
    pub when_unsatisfiable: WhenUnsatisfiable,
    /// Loss of domains after which the requested replicas still remain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub survive_loss: Option<SurviveLoss>,
}

/// Reaction to a spread constraint that cannot hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WhenUnsatisfiable {
    /// Keeps the existing placement and reports the reason.
    #[default]
    Hold,
    /// Places replicas as evenly as possible and reports the constraint as not satisfied.
    BestEffort,
}

/// Loss of domains after which the requested replicas still remain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SurviveLoss {
    /// Number of domains, whichever they are, that may be lost at once.
    #[schemars(range(min = 1, max = 8))]
    pub domains: i32,
    /// Method that compensates for the loss.
    pub by: SurviveBy,
}

/// Method that compensates for the loss of domains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SurviveBy {
    /// Runs more replicas than requested: the fewest such that enough remain after any loss.
    Overprovision,
}

/// Minimum and maximum number of replicas in any one domain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[x_kube(validation = ("has(self.min) || has(self.max)", "a limit needs min or max"))]
#[x_kube(validation = ("!has(self.min) || !has(self.max) || self.min <= self.max", "min must not exceed max"))]
pub struct Limit {
    /// Domains to which the limit applies.
    pub topology: Topology,
    /// Minimum number of replicas in every eligible domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100000))]
    pub min: Option<i32>,
    /// Maximum number of replicas in any domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100000))]
    pub max: Option<i32>,
}

/// Weights by which replicas are divided when no other rule decides.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[x_kube(validation = ("self.mode == 'Static' || !has(self.static)", "static weights need mode: Static"))]
pub struct Weights {
    /// Origin of the weights.
    #[serde(default)]
    pub mode: WeightMode,
    /// Weight of each cell, for mode `Static`. A cell without an entry has weight 0.
    #[serde(default, rename = "static", skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    #[x_kube(validation = ("self.all(cell, self[cell] >= 0 && self[cell] <= 1000000)", "a weight is a number from 0 to 1000000"))]
    pub static_weights: BTreeMap<String, i32>,
}

/// Origin of the weights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WeightMode {
    /// Every cell has the same weight.
    #[default]
    Even,
    /// The weight of a cell is its free capacity for pods of this Application.
    Capacity,
    /// The weights are those of the field `static`.
    Static,
}

/// A step in the order in which cells are filled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tier {
    /// Cells of the tier.
    pub cells: CellSelector,
}
