//! Applications that have replicas or objects in a cluster, as the hub shows them.

use crds::{Application, Cluster};
use serde::Serialize;
use vocabulary::ClusterName;

use crate::failure::Failure;
use crate::hub::Hub;
use crate::output::{Format, Table, title};
use crate::shell::{emit, outcome};

/// An Application that has replicas in the cluster.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Resident {
    namespace: String,
    name: String,
    /// Replicas that are placed in the cluster.
    replicas: i32,
}

/// Result of a command that empties a cluster, for programs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report<'a> {
    pub(super) cluster: &'a str,
    pub(super) dry_run: bool,
    /// State of the cluster at the end of the command, in one word.
    pub(super) state: &'static str,
    /// Effect of the command on the objects in the cluster.
    pub(super) effect: &'a str,
    /// Applications that had replicas in the cluster when the command began.
    pub(super) applications: Vec<Resident>,
    /// Number of Applications that have any object in the cluster at the end.
    pub(super) apps: i64,
}

impl Report<'_> {
    /// Prints a table for people in a dry run, which has no other output, and the report for programs.
    pub(super) fn show(&self, format: Format) -> Result<(), Failure> {
        if self.dry_run && matches!(format, Format::Table | Format::Wide) && !self.applications.is_empty() {
            return emit(&self.table());
        }
        outcome(format, &title::<Cluster>(self.cluster), self)
    }

    fn table(&self) -> String {
        let mut table = Table::new(["NAMESPACE", "NAME", "REPLICAS"]);
        for resident in &self.applications {
            table.row([resident.namespace.clone(), resident.name.clone(), resident.replicas.to_string()]);
        }
        table.render()
    }

    /// Formats numbers for people: replicas in the cluster, and Applications with other objects there.
    pub(super) fn sum(&self) -> String {
        let replicas: i32 = self.applications.iter().map(|resident| resident.replicas).sum();
        let running = self.applications.len();
        let others = self.apps - i64::try_from(running).unwrap_or(i64::MAX);
        let other = if others > 0 { format!(", and {others} more have other objects there") } else { String::new() };
        format!("{running} applications run {replicas} replicas in {}{other}", self.cluster)
    }
}

/// Returns the number of Applications that have any object in the cluster.
pub(super) fn apps(cluster: &Cluster) -> i64 {
    cluster.status.as_ref().map(|status| status.apps).unwrap_or_default()
}

/// Reads the Applications that have replicas in the cluster, sorted by namespace and name.
///
/// Returns an empty list, without reading, for people who change something: they read the steps instead.
pub(super) async fn residents(
    name: &ClusterName,
    dry_run: bool,
    format: Format,
    hub: &Hub,
) -> Result<Vec<Resident>, Failure> {
    if !dry_run && !matches!(format, Format::Json | Format::Yaml) {
        return Ok(Vec::new());
    }
    Ok(of(&hub.all_apps(None, None).await?, name))
}

fn of(apps: &[Application], name: &ClusterName) -> Vec<Resident> {
    apps.iter()
        .map(|app| Resident {
            namespace: app.metadata.namespace.clone().unwrap_or_default(),
            name: app.metadata.name.clone().unwrap_or_default(),
            replicas: replicas_in(app, name),
        })
        .filter(|resident| resident.replicas > 0)
        .collect()
}

/// Returns the replicas of an Application that leave a drained cluster.
///
/// Only replicas of its `Divided` component leave.
pub(super) fn movable_in(app: &Application, cluster: &ClusterName) -> i32 {
    let cells = app.status.iter().flat_map(|status| &status.cells);
    let here = cells.filter(|cell| cell.cluster == cluster.as_str());
    here.filter_map(|cell| cell.divided).map(|divided| divided.placed).sum()
}

/// Lists the Applications that keep replicas in a drained cluster; `None` if there are none.
pub(super) fn stay_in(apps: &[Application], name: &ClusterName) -> Option<String> {
    let staying = of(apps, name);
    let all: Vec<String> = staying
        .iter()
        .map(|resident| format!("{}/{} ({})", resident.namespace, resident.name, resident.replicas))
        .collect();
    (!all.is_empty()).then(|| all.join(", "))
}

/// Returns the replicas of an Application that are placed in the cluster.
fn replicas_in(app: &Application, cluster: &ClusterName) -> i32 {
    let cells = app.status.iter().flat_map(|status| &status.cells);
    cells.filter(|cell| cell.cluster == cluster.as_str()).map(|cell| cell.placed).sum()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;

    fn app(name: &str, placed: &[(&str, i32)]) -> Application {
        let cells: Vec<_> = placed
            .iter()
            .map(|(cluster, placed)| {
                json!({ "cell": cluster, "cluster": cluster, "region": "n", "zone": "n1", "desired": 9, "placed": placed,
                        "ready": 0, "available": 0, "updated": 0, "revision": "r" })
            })
            .collect();
        serde_json::from_value(json!({
            "apiVersion": "fleet.meridian.io/v1alpha1", "kind": "Application",
            "metadata": { "name": name, "namespace": "shop" }, "spec": { "components": [] }, "status": { "cells": cells },
        }))
        .unwrap()
    }

    #[test]
    fn replicas_that_a_drain_leaves_behind_are_named() {
        let north: ClusterName = "north".parse().unwrap();
        let mut mixed = app("mixed", &[("north", 3)]);
        mixed.status.as_mut().unwrap().cells[0].divided =
            Some(crds::application::v1alpha1::DividedReplicas { desired: 2, placed: 2 });
        assert_eq!(movable_in(&mixed, &north), 2, "the third is of a component that stays");
        let once = app("once", &[("north", 1), ("south", 4)]);
        assert_eq!(movable_in(&once, &north), 0, "a drain does not wait for what never moves");
        assert_eq!(stay_in(&[once, app("left", &[("north", 0)])], &north).as_deref(), Some("shop/once (1)"));
        assert_eq!(stay_in(&[app("left", &[("north", 0)])], &north), None);
    }

    #[test]
    fn residents_are_counted_by_their_placed_replicas() {
        let apps = [app("web", &[("north", 2), ("north", 1), ("south", 5)]), app("left", &[("north", 0)])];
        let north: ClusterName = "north".parse().unwrap();
        let report = Report {
            cluster: "north",
            dry_run: true,
            state: "Open",
            effect: "it moves",
            applications: of(&apps, &north),
            apps: 3,
        };
        assert_eq!(report.sum(), "1 applications run 3 replicas in north, and 2 more have other objects there");
        expect![[r"
            NAMESPACE   NAME   REPLICAS
            shop        web           3
        "]]
        .assert_eq(&report.table());
        expect![[r#"{"cluster":"north","dryRun":true,"state":"Open","effect":"it moves","applications":[{"namespace":"shop","name":"web","replicas":3}],"apps":3}"#]]
            .assert_eq(&serde_json::to_string(&report).unwrap());
    }
}
