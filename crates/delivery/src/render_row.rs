//! Renders the object of a placement row. Pure.

use std::collections::BTreeMap;

use domain::render::{self, RenderInput};
use domain::stored_revision::StoredRevision;
use domain::topology::CellFacts;
use store::PlacementRow;
use vocabulary::{AppKey, Fence};

/// A row and what it is rendered with besides its revision.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowRender<'a> {
    pub(crate) app: &'a AppKey,
    pub(crate) row: &'a PlacementRow,
    /// Nothing of the application runs.
    pub(crate) suspended: bool,
    pub(crate) cell: &'a CellFacts,
    /// Names of the objects beside it, by kind and name of the template.
    pub(crate) siblings: &'a BTreeMap<(String, String), String>,
    /// `spec.replicas` of the live object, where nobody but Meridian owns it.
    pub(crate) own_replicas: Option<i32>,
}

/// Renders the object of a row.
///
/// # Errors
/// A sentence, when the revision does not declare the component or cannot be rendered for the cell.
pub(crate) fn render_row(
    input: &RowRender<'_>,
    revision: &StoredRevision,
    fence: Fence,
) -> Result<render::Rendered, String> {
    let row = input.row;
    let component = revision.blueprint.components.iter().find(|component| component.name == row.component);
    let component = component.ok_or_else(|| format!("component {} is not part of the revision", row.component))?;
    // A row that holds replicas for the workload that replaces it is told them, although it has a number of its own.
    let told = row.divided || row.floor > row.target || input.suspended;
    let replicas = if told {
        Some(row.rendered())
    } else {
        // A number of ours that nobody else owns is kept: the API server would put 1 in its place.
        input.own_replicas.filter(|_| component.replicas.is_none()).map(|own| own.max(1))
    };
    render::render(&RenderInput {
        app: input.app,
        component,
        siblings: input.siblings,
        cell: input.cell,
        object_name: &row.object.name,
        replicas,
        suspended: input.suspended,
        zone_spread: row.zone_spread,
        overrides: &revision.overrides,
        fence,
    })
    .map_err(|error| error.to_string())
}
