//! Cells that are declared wrong, or go, while something runs in them.

use acceptance::manifests::{app, deployment, namespace, patch};
use acceptance::{Fleet, SOON};
use anyhow::{Context, ensure};
use crds::Application;
use serde_json::{Value, json};
use testbed::eventually;

const SPACE: &str = "keeper";
/// What runs in the cell, as its member names it.
const OBJECTS: [(&str, &str); 2] = [("statefulset", "store-keeper"), ("deployment", "web-keeper")];

fn placed_in(cell: &str) -> Value {
    json!({"cells": {"matchLabels": {"fleet.meridian.io/cell": cell}}})
}

/// UID and replicas of what runs in the cell.
fn running(fleet: &Fleet) -> anyhow::Result<Vec<(Value, Value)>> {
    let one = |(kind, name): (&str, &str)| {
        let object = fleet.get("south-a", kind, SPACE, name)?.with_context(|| format!("{kind} {name}"))?;
        ensure!(object["metadata"]["deletionTimestamp"].is_null(), "{kind} {name} goes");
        Ok((object["metadata"]["uid"].clone(), object["spec"]["replicas"].clone()))
    };
    OBJECTS.into_iter().map(one).collect()
}

async fn cell_says(fleet: &Fleet, reason: &str) -> anyhow::Result<()> {
    eventually(&format!("the Cell says {reason}"), SOON, async || {
        let cell = fleet.get("hub", "mcell", "", "keeper")?.context("the Cell")?;
        let told = cell["status"]["conditions"][0]["reason"].clone();
        ensure!(told == reason, "{told}");
        Ok(Some(()))
    })
    .await
}

/// Waits until a decision was made with that verdict on the cell.
async fn verdict(fleet: &Fleet, wanted: &str) -> anyhow::Result<Application> {
    fleet
        .app_until(SPACE, "web", &format!("the cell is {wanted}"), |app| {
            let decision = app.status.as_ref().and_then(|status| status.decision.as_ref());
            decision.is_some_and(|decision| {
                decision.cells.iter().any(|cell| cell.cell == "keeper" && cell.verdict == wanted)
            })
        })
        .await
}

fn zones(fleet: &Fleet, zones: &Value) -> anyhow::Result<()> {
    let change = json!({"spec": {"zones": zones}}).to_string();
    fleet.kubectl("hub", &["patch", "mcl", "south-a", "--type", "merge", "-p", &change]).map(drop)
}

pub(crate) async fn what_runs_in_a_cell_outlives_a_wrong_edit_and_the_cell_waits_for_it(
    fleet: &mut Fleet,
) -> anyhow::Result<()> {
    namespace(fleet, SPACE)?;
    let cell = json!({"apiVersion": "fleet.meridian.io/v1alpha1", "kind": "Cell", "metadata": {"name": "keeper"},
        "spec": {"cluster": "south-a"}});
    fleet.apply("hub", &cell)?;
    let pod = deployment("store", "store:1")["spec"]["template"].clone();
    let store = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "store"}, "spec":
        {"replicas": 2, "serviceName": "store", "selector": {"matchLabels": {"app": "store"}}, "template": pod}});
    let components =
        json!([{"name": "web", "template": deployment("web", "web:1")}, {"name": "store", "template": store}]);
    let spec = json!({"replicas": 3, "components": components, "placement": placed_in("keeper")});
    fleet.apply("hub", &app(SPACE, "web", spec))?;
    fleet.ready(SPACE, "web").await?;
    let before = running(fleet)?;

    let own = fleet.get("hub", "mcl", "", "south-a")?.context("the Cluster")?["spec"]["zones"].clone();
    let mut more = own.as_array().cloned().unwrap_or_default();
    more.push(json!("s9"));
    zones(fleet, &json!(more))?;
    cell_says(fleet, "ZoneRequired").await?;
    verdict(fleet, "Misdeclared").await?;
    ensure!(running(fleet)? == before, "a cell that is declared wrong keeps what runs there");
    zones(fleet, &own)?;
    cell_says(fleet, "Ready").await?;
    verdict(fleet, "Eligible").await?;

    fleet.kubectl("hub", &["delete", "mcell", "keeper", "--wait=false"])?;
    cell_says(fleet, "Leaving").await?;
    verdict(fleet, "Draining").await?;
    ensure!(running(fleet)? == before, "what finds no other place stays, and the Cell waits");
    patch(fleet, SPACE, "web", &json!({"spec": {"placement": placed_in("south-a")}}))?;
    eventually("the Cell is gone", SOON, async || Ok(fleet.get("hub", "mcell", "", "keeper")?.is_none().then_some(())))
        .await?;
    fleet.ready(SPACE, "web").await?;
    for (kind, name) in OBJECTS {
        ensure!(fleet.get("south-a", kind, SPACE, name)?.is_none(), "{kind} {name} is left");
    }
    fleet.meridian(&["app", "delete", "web", "-n", SPACE, "--yes"]).map(drop)
}
