//! Renders the object of a placement row. Pure.

use std::collections::BTreeMap;

use domain::render::{self, RenderInput, Rollout};
use domain::stored_revision::StoredRevision;
use domain::topology::{CellFacts, Topology};
use store::{PlacementRow, Slot};
use vocabulary::{AppKey, Fence};

/// Input for rendering a row, except its revision.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowRender<'a> {
    pub(crate) app: &'a AppKey,
    pub(crate) row: &'a PlacementRow,
    /// Whether the application is suspended, so that nothing of it runs.
    pub(crate) suspended: bool,
    /// Whether new revisions of the application reach the pods by releases.
    pub(crate) by_release: bool,
    pub(crate) cell: &'a CellFacts,
    /// Object names of the sibling components, by kind and name in the template.
    pub(crate) siblings: &'a BTreeMap<(String, String), String>,
    /// `spec.replicas` of the live object, if only Meridian owns it.
    pub(crate) own_replicas: Option<i32>,
}

/// Finds the cell that a row is rendered for; `None` while this process has not read the cell.
///
/// An object placed once per cluster belongs to the cluster's implicit cell. A declared cell that cannot be read is not
/// replaced by the implicit cell. Services would otherwise select pods of all cells, and overrides would be lost.
pub(crate) fn cell_of<'a>(topology: &'a Topology, row: &PlacementRow) -> Option<&'a CellFacts> {
    topology.cells.get(row.cell.as_str())
}

/// Renders the object of a row.
///
/// # Errors
/// A message, when the revision does not declare the component or cannot be rendered for the cell.
pub(crate) fn render_row(
    input: &RowRender<'_>,
    revision: &StoredRevision,
    fence: Fence,
) -> Result<render::Rendered, String> {
    let row = input.row;
    let component = revision.blueprint.components.iter().find(|component| component.name == row.component);
    let component = component.ok_or_else(|| format!("component {} is not part of the revision", row.component))?;
    // A row with a floor above its target holds replicas for its successor. They are rendered, although the row has a
    // number of its own.
    let sets_replicas = row.divided || row.floor > row.target || input.suspended;
    let replicas = if sets_replicas {
        Some(row.rendered())
    } else {
        // Keeps a number that only Meridian owns. If it were left out, the API server would reset it to 1.
        input.own_replicas.filter(|_| component.replicas.is_none()).map(|own| own.max(1))
    };
    let live = render::cell_inputs(&revision.overrides, input.cell, None);
    render::render(&RenderInput {
        app: input.app,
        component,
        siblings: input.siblings,
        cell: input.cell,
        object_name: &row.object.name,
        rollout: match row.slot {
            Slot::Gray => Rollout::Gray,
            Slot::Main if input.by_release => Rollout::Main,
            Slot::Main => Rollout::CellByCell,
        },
        replicas,
        owns_replicas: input.own_replicas.is_some(),
        suspended: input.suspended,
        inputs: row.inputs.as_ref().unwrap_or(&live),
        overrides: &revision.overrides,
        fence,
    })
    .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use store::DesiredState;
    use vocabulary::{ContentHash, ObjectKey};

    use super::*;

    fn row(cell: &str) -> PlacementRow {
        PlacementRow {
            id: 1.into(),
            app: 1.into(),
            component: "web".to_owned(),
            cell: cell.to_owned(),
            slot: Slot::Main,
            cluster: "east".to_owned(),
            object: ObjectKey {
                api_version: "apps/v1".to_owned(),
                kind: "Deployment".to_owned(),
                namespace: "shop".to_owned(),
                name: "web".to_owned(),
            },
            rank: 50,
            divided: false,
            target: 1,
            floor: 0,
            surge: 0,
            inputs: None,
            plan_epoch: 1,
            revision: ContentHash::of(b"web"),
            desired_state: DesiredState::Present,
        }
    }

    fn cell(name: &str) -> CellFacts {
        CellFacts {
            name: name.parse().unwrap(),
            cluster: "east".parse().unwrap(),
            region: "r".to_owned(),
            zones: vec!["z".to_owned()],
            declared: name != "east",
            state: domain::topology::CellState::Open,
            labels: BTreeMap::new(),
            node_selector: BTreeMap::new(),
            unit: None,
            unit_kind: None,
            pair: None,
        }
    }

    #[test]
    fn a_declared_cell_that_is_unknown_has_no_stand_in() {
        let cells = ["east", "known"].map(|name| (name.parse().unwrap(), cell(name)));
        let topology = Topology { cells: cells.into_iter().collect(), ..Topology::default() };
        for (case, name, expected) in [
            ("once per cluster", "east", Some("east")),
            ("a declared cell", "known", Some("known")),
            ("a declared cell that could not be read", "unread", None),
        ] {
            let found = cell_of(&topology, &row(name)).map(|cell| cell.name.as_str());
            assert_eq!(found, expected, "{case}");
        }
    }

    fn rendered_replicas(kind: (&str, &str), stated: Option<i32>, own_replicas: Option<i32>) -> Option<i64> {
        let app = AppKey { namespace: "shop".to_owned(), name: "web".to_owned() };
        let pods = json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": "web:1"}]}});
        let mut template = json!({"apiVersion": kind.0, "kind": kind.1, "metadata": {"name": "web"},
            "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": pods}});
        if let Some(stated) = stated {
            template["spec"]["replicas"] = json!(stated);
        }
        let body = json!({"components": [{"name": "web", "scope": "PerCell", "template": template}]});
        let revision = StoredRevision::parse(&app, body.to_string().as_bytes()).unwrap();
        let row = PlacementRow { target: stated.unwrap_or(1), ..row("east") };
        let cell = cell("east");
        let siblings = BTreeMap::new();
        let input = RowRender {
            app: &app,
            row: &row,
            suspended: false,
            by_release: false,
            cell: &cell,
            siblings: &siblings,
            own_replicas,
        };
        let fence = Fence { generation: 1, authority: 1, plan: 1 };
        render_row(&input, &revision, fence)
            .unwrap()
            .object
            .pointer("/spec/replicas")
            .and_then(serde_json::Value::as_i64)
    }

    #[test]
    fn a_number_left_out_keeps_what_runs_until_another_sets_it() {
        let (deployment, widget) = (("apps/v1", "Deployment"), ("example.io/v1", "Widget"));
        for (case, kind, stated, own, expected) in [
            ("the template states it", deployment, Some(2), Some(2), Some(2)),
            ("left out while only we own the number", deployment, None, Some(2), Some(2)),
            ("left out after an autoscaler took it over", deployment, None, None, None),
            ("a kind of the member's own that was divided", widget, None, Some(2), Some(2)),
            ("a kind of the member's own without replicas", widget, None, None, None),
        ] {
            assert_eq!(rendered_replicas(kind, stated, own), expected, "{case}");
        }
    }
}
