//! `PlacementPolicy`: where replicas go, shared by Applications of one namespace.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube_derive::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::selector::CellSelector;

/// Where replicas go and how many. In an Application's `spec.placement` or, shared, as a `PlacementPolicy`.
///
/// Order of precedence: eligibility, hard limits, no running replica moves, minimum, spread and
/// surviveLoss, shares, weights; tiers decide the order in which cells are filled.
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
    /// Cells that may hold replicas; all when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cells: Option<CellSelector>,
    /// Taints of clusters that do not keep replicas away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub tolerations: Vec<Toleration>,
    /// Evenness between topology domains.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    #[x_kube(validation = ("self.all(a, self.exists_one(b, b.topology == a.topology))", "one spread constraint per topology"))]
    pub spread: Vec<SpreadConstraint>,
    /// Fewest and most replicas in any one topology domain.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    #[x_kube(validation = ("self.all(a, self.exists_one(b, b.topology == a.topology))", "one limit per topology"))]
    pub limits: Vec<Limit>,
    /// Exact replicas, or a percentage (rounded down), of named cells. The others share the rest.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    // The form of a percentage is checked at intake: a pattern over 64 strings exceeds the API server's cost limit.
    #[x_kube(validation = ("self.all(cell, type(self[cell]) != int || int(self[cell]) >= 0)", "a share is a number of replicas of at least 0, or a percentage from \"0%\" to \"100%\""))]
    pub shares: BTreeMap<String, IntOrString>,
    /// How what is left is divided.
    #[serde(default)]
    pub weights: Weights,
    /// Order of filling: the next tier receives replicas only when the previous is full.
    /// A cell that no tier names comes last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub tiers: Vec<Tier>,
    /// Keep the two cells of a pair in different zones: a unit's A and B never count on one zone alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub separate_pairs: bool,
}

/// Keeps one taint from counting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Toleration {
    /// Taint key.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,
    /// Taint value; any when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub value: Option<String>,
}

/// What a domain is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Topology {
    /// A region.
    Region,
    /// A zone, told apart by (region, zone).
    Zone,
    /// A member cluster.
    Cluster,
    /// A cell.
    Cell,
}

/// Evenness between domains.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[x_kube(validation = ("!has(self.surviveLoss) || !has(self.minDomains) || self.surviveLoss.domains < self.minDomains", "surviveLoss.domains must be lower than minDomains"))]
pub struct SpreadConstraint {
    /// Which domains are compared.
    pub topology: Topology,
    /// Largest difference in replicas between two domains; not bounded when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000))]
    pub max_skew: Option<i32>,
    /// Fewest domains that hold replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 64))]
    pub min_domains: Option<i32>,
    /// What happens when the constraint cannot hold.
    #[serde(default)]
    pub when_unsatisfiable: WhenUnsatisfiable,
    /// Keep the wanted replicas even when domains vanish.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub survive_loss: Option<SurviveLoss>,
}

/// What happens when a spread constraint cannot hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WhenUnsatisfiable {
    /// Keep what is placed and say why.
    #[default]
    Hold,
    /// Place as evenly as possible and report the constraint as not satisfied.
    BestEffort,
}

/// How many domains may vanish.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SurviveLoss {
    /// Any so many domains may vanish at once.
    #[schemars(range(min = 1, max = 8))]
    pub domains: i32,
    /// How the loss is made good.
    pub by: SurviveBy,
}

/// How the loss of domains is made good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SurviveBy {
    /// By running more replicas than asked for: the fewest such that the rest is enough after any loss.
    Overprovision,
}

/// Fewest and most replicas in any one domain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[x_kube(validation = ("has(self.min) || has(self.max)", "a limit needs min or max"))]
#[x_kube(validation = ("!has(self.min) || !has(self.max) || self.min <= self.max", "min must not exceed max"))]
pub struct Limit {
    /// Which domains the limit speaks of.
    pub topology: Topology,
    /// Fewest replicas in every eligible domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100000))]
    pub min: Option<i32>,
    /// Most replicas in any domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100000))]
    pub max: Option<i32>,
}

/// How replicas that nothing else decides are divided.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[x_kube(validation = ("self.mode == 'Static' || !has(self.static)", "static weights need mode: Static"))]
pub struct Weights {
    /// Where weights come from.
    #[serde(default)]
    pub mode: WeightMode,
    /// Weight per cell, for mode Static; a cell that is not named has weight 0.
    #[serde(default, rename = "static", skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    #[x_kube(validation = ("self.all(cell, self[cell] >= 0 && self[cell] <= 1000000)", "a weight is a number from 0 to 1000000"))]
    pub static_weights: BTreeMap<String, i32>,
}

/// Where weights come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WeightMode {
    /// Every cell the same.
    #[default]
    Even,
    /// By free capacity for this application's pods.
    Capacity,
    /// As given.
    Static,
}

/// One step of the order of filling.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tier {
    /// Cells of the tier.
    pub cells: CellSelector,
}
