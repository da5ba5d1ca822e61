//! Chooses the names of objects in members.

use crds::application::v1alpha1::Scope;
use vocabulary::{ContentHash, suffixed_name};

use super::ComponentPlan;
use super::kinds::name_limit;
use crate::topology::CellFacts;

/// Whether the object is one of several similar ones that may share a cluster.
///
/// Name, selector and pods of such an object must carry the cell.
pub(super) fn is_per_declared_cell(scope: Scope, cell: &CellFacts) -> bool {
    cell.declared && matches!(scope, Scope::Divided | Scope::PerCell)
}

/// Returns candidates for the object's name in a cell, in order of preference.
///
/// All candidates differ, and all fit the kind.
pub fn object_names(component: &ComponentPlan, cell: &CellFacts) -> [String; 4] {
    let limit = name_limit(&component.api_version, &component.kind);
    let salted = |salt: u32| within(limit, suffixed_name(&component.object_name, cell.name.as_str(), salt));
    let first = if is_per_declared_cell(component.scope, cell) { salted(0) } else { component.object_name.clone() };
    [first, salted(1), salted(2), salted(3)]
}

/// Returns candidates for the name of the component's gray workload in a cell, in order of preference.
pub fn gray_names(component: &ComponentPlan, cell: &CellFacts) -> [String; 4] {
    let limit = name_limit(&component.api_version, &component.kind);
    let [main, ..] = object_names(component, cell);
    [0, 1, 2, 3].map(|salt| within(limit, suffixed_name(&main, "gray", salt)))
}

/// Returns the name. A name that is too long is cut and gets six digits of its hash.
fn within(limit: usize, name: String) -> String {
    if name.len() <= limit {
        return name;
    }
    let digest = ContentHash::of(name.as_bytes()).to_string();
    let cut: String = name.chars().take(limit - 7).collect();
    format!("{}-{}", cut.trim_end_matches(['-', '.']), &digest[..6])
}
