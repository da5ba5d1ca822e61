//! What objects take from the places they go to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ZoneSpread;

/// What an object takes from its cell, besides the cell's name. It is decided and stored, as a revision is: an edit of a cell
/// restarts pods, so it reaches cells one after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CellInputs {
    /// Labels of the nodes that its pods are bound to.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// The override rules of the object's revision that select the cell: their places in the list, ascending.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<usize>,
    /// How strictly its pods are spread over the zones of the cell; nothing where they are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone_spread: Option<ZoneSpread>,
}

/// What all objects of an application in one cell take from their places.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PlaceInputs {
    /// Those of the cell.
    pub cell: CellInputs,
    /// Those that are there once per cluster.
    pub cluster: CellInputs,
}
