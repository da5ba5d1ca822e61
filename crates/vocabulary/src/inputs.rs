//! Values that objects take from the cell and the cluster in which they are placed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ZoneSpread;

/// Values that an object takes from its cell, besides the cell's name.
///
/// They are decided and stored, as a revision is. An edit of a cell restarts pods, so it reaches cells one after the
/// other.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CellInputs {
    /// Labels of the nodes to which the object's pods are bound.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Override rules of the object's revision that select the cell: indexes into their list, ascending.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<usize>,
    /// Strictness with which the object's pods are spread over the zones of the cell; `None` where they are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone_spread: Option<ZoneSpread>,
}

/// Values that all objects of an application in one cell take from their places.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PlaceInputs {
    /// Values for objects of the cell.
    pub cell: CellInputs,
    /// Values for objects that exist once per cluster.
    pub cluster: CellInputs,
}
