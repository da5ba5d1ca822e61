//! `Cell`: a declared deployment unit inside one cluster and zone.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube_derive::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A declared cell: the smallest unit of placement and traffic, in exactly one cluster and zone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "fleet.meridian.io",
    version = "v1alpha1",
    kind = "Cell",
    plural = "cells",
    shortname = "mcell",
    category = "meridian",
    status = "CellStatus",
    derive = "PartialEq",
    crates(kube_core = "::kube_core"),
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Cluster","type":"string","jsonPath":".spec.cluster"}"#,
    printcolumn = r#"{"name":"Zone","type":"string","jsonPath":".status.zone"}"#,
    printcolumn = r#"{"name":"Unit","type":"string","jsonPath":".spec.unit"}"#,
    printcolumn = r#"{"name":"Kind","type":"string","jsonPath":".spec.unitKind"}"#,
    printcolumn = r#"{"name":"Pair","type":"string","jsonPath":".spec.pair"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Display Name","type":"string","priority":1,"jsonPath":".spec.displayName"}"#,
    printcolumn = r#"{"name":"Message","type":"string","priority":1,"jsonPath":".status.conditions[?(@.type==\"Ready\")].message"}"#
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[x_kube(validation = ("self.cluster == oldSelf.cluster", "cluster cannot change: a cell lives in one cluster; declare another cell"))]
#[x_kube(validation = ("has(self.unit) == has(self.unitKind)", "unit and unitKind go together"))]
pub struct CellSpec {
    /// Cluster that hosts the cell.
    #[schemars(length(min = 1, max = 63), pattern(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub cluster: String,
    /// Zone of the cell. Optional when the cluster lies in one zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub zone: Option<String>,
    /// Logical zone of the cell, for example `rz01`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub unit: Option<String>,
    /// Kind of the logical zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit_kind: Option<UnitKind>,
    /// Half of the pair that the cell forms with another cell of its unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pair: Option<Pair>,
    /// Display name of the cell for users, for example `RZ01A`. Shown in tables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub display_name: Option<String>,
    /// Node labels to which pods of the cell are bound. Meridian adds the zone label when the cluster spans several
    /// zones.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub node_selector: BTreeMap<String, String>,
}

/// Purpose of a logical zone. `R`: sharded by user id. `G`: global singleton. `C`: one per city.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum UnitKind {
    /// The zone serves a shard of the users, by user id.
    R,
    /// The zone is a global singleton.
    G,
    /// Each city has one such zone.
    C,
}

/// Half of a pair of cells. The two halves never change together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Pair {
    /// First half of the pair.
    A,
    /// Second half of the pair.
    B,
}

/// Observed state of a cell.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CellStatus {
    /// Generation of the spec that the rest of the status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Zone of the cell. Taken from the cluster when the spec has no zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Conditions: `Ready`, and `Stalled` when the operator cannot read the Cell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}
