//! Finds which component of a revision an existing object represents. Pure.
//!
//! The identity of the object decides, not the name of the component.

use std::sync::Arc;

use domain::render::{ComponentPlan, gray_names, object_names};
use domain::stored_revision::StoredRevision;
use domain::topology::{CellFacts, Topology};
use store::{PlacementRow, Slot};

/// Returns the group of an `apiVersion`; empty for the core group.
pub(crate) fn group(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

/// Returns the names that a component's object may have in a slot of a cell, in order of preference.
pub(crate) fn slot_names(component: &ComponentPlan, cell: &CellFacts, slot: Slot) -> [String; 4] {
    match slot {
        Slot::Main => object_names(component, cell),
        Slot::Gray => gray_names(component, cell),
    }
}

/// Returns whether the object of a row is the one that the component has in the row's cell.
///
/// Where the topology lacks the cell, the component names are compared.
pub(crate) fn is_of_component(topology: &Topology, row: &PlacementRow, component: &ComponentPlan) -> bool {
    if row.object.kind != component.kind || row.object.group() != group(&component.api_version) {
        return false;
    }
    match topology.cells.get(row.cell.as_str()) {
        Some(cell) => slot_names(component, cell, row.slot).contains(&row.object.name),
        None => row.component == component.name,
    }
}

/// Returns whether a revision declares the object of a row.
///
/// A revision that cannot be read may declare any object, so it counts as declaring this one.
pub(crate) fn declares(topology: &Topology, revision: Option<&Arc<StoredRevision>>, row: &PlacementRow) -> bool {
    revision.is_none_or(|revision| {
        revision.blueprint.components.iter().any(|component| is_of_component(topology, row, component))
    })
}
