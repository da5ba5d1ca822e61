//! Cells that become invalid or are deleted while workloads run in them.
//!
//! Also tests clusters over zones, with and without cells.

use acceptance::manifests::{app, deployment, namespace, patch};
use acceptance::{Fleet, SOON};
use anyhow::{Context, ensure};
use crds::Application;
use serde_json::{Value, json};
use testbed::eventually;

const SPACE: &str = "keeper";
/// Workloads in the cell, by kind and name in the member.
const OBJECTS: [(&str, &str); 2] = [("statefulset", "store-keeper"), ("deployment", "web-keeper")];

fn placed_in(cell: &str) -> Value {
    json!({"cells": {"matchLabels": {"fleet.meridian.io/cell": cell}}})
}

/// Returns UID and replicas of the workloads in the cell.
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
        let found = cell["status"]["conditions"][0]["reason"].clone();
        ensure!(found == reason, "{found}");
        Ok(Some(()))
    })
    .await
}

/// Waits until a decision contains this verdict for the cell.
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

pub(crate) async fn workloads_outlive_a_wrong_cell_edit_and_the_cell_waits(fleet: &mut Fleet) -> anyhow::Result<()> {
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

/// Names of the member's second and third zone.
const MORE_ZONES: [&str; 2] = ["s2", "s3"];
/// Namespace of the Applications that run in all zones of one cluster.
const WIDE: &str = "wide";

/// Builds an Application that is spread over the zones of `south-a` and survives the loss of one zone.
fn over_zones(name: &str, replicas: i32) -> Value {
    let spread = json!({"topology": "Zone", "maxSkew": 1, "surviveLoss": {"domains": 1, "by": "Overprovision"}});
    let cells = json!({"matchLabels": {"fleet.meridian.io/cluster": "south-a"}});
    app(
        WIDE,
        name,
        json!({"replicas": replicas, "placement": {"cells": cells, "spread": [spread]},
        "components": [{"name": "web", "template": deployment(name, "web:1")}]}),
    )
}

fn add_zones(fleet: &Fleet) -> anyhow::Result<()> {
    for zone in MORE_ZONES {
        let room = json!({"cpu": "16", "memory": "64Gi", "pods": "110"});
        let labels = json!({"topology.kubernetes.io/zone": zone, "topology.kubernetes.io/region": "south"});
        fleet.apply(
            "south-a",
            &json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": format!("node-{zone}"), "labels": labels},
            "status": {"allocatable": room, "capacity": room}}),
        )?;
    }
    zones(fleet, &json!(["s1", "s2", "s3"]))
}

/// Checks one object over three zones.
///
/// Its pods are spread over the zones, are counted by zone, and survive the loss of one zone.
async fn one_object_over_zones(fleet: &Fleet) -> anyhow::Result<Value> {
    fleet.apply("hub", &over_zones("one", 4))?;
    fleet.ready(WIDE, "one").await?;
    let object = fleet.get("south-a", "deployment", WIDE, "one")?.context("one object of the same name")?;
    let constraint = &object["spec"]["template"]["spec"]["topologySpreadConstraints"][0];
    ensure!(
        constraint["topologyKey"] == "topology.kubernetes.io/zone"
            && constraint["whenUnsatisfiable"] == "DoNotSchedule",
        "{constraint}"
    );
    ensure!(object["spec"]["replicas"] == 6, "four are left of six without the two of a zone");
    let two_each = ["s1", "s2", "s3"].map(|zone| (zone.to_owned(), 2)).into();
    let seen = |app: &Application| app.status.as_ref().is_some_and(|status| status.cells[0].ready_by_zone == two_each);
    let app = fleet.app_until(WIDE, "one", "two ready pods in each zone", seen).await?;
    let (survives, message) = acceptance::condition(&app, "LossSurvivable").context("LossSurvivable")?;
    ensure!(survives == "True" && message.starts_with("4 available") && !message.contains("counts as"), "{message}");
    let lost = fleet.meridian(&["what-if", "one", "-n", WIDE, "--lose", "zone=s2"])?;
    ensure!(lost.contains("2 of 6 replicas are lost, 4 are left: enough"), "{lost}");
    ensure!(!lost.contains("north-a") && lost.contains("more cells are not selected"), "{lost}");
    Ok(object)
}

pub(crate) async fn a_cluster_over_zones_is_one_place_or_a_cell_in_each(fleet: &mut Fleet) -> anyhow::Result<()> {
    namespace(fleet, WIDE)?;
    add_zones(fleet)?;
    let before = one_object_over_zones(fleet).await?;

    // The cluster already runs an object when its Cells are declared: that object stays, and new objects use the Cells.
    let member = fleet.bed.member("south-a")?.kubeconfig().display().to_string();
    let zones_given = ["--region", "south", "--zone", "s1,s2,s3", "--cell-per-zone"];
    fleet.meridian(&[&["cluster", "join", "south-a", "--kubeconfig", &member], zones_given.as_slice()].concat())?;
    fleet.apply("hub", &over_zones("split", 2))?;
    let split = fleet.ready(WIDE, "split").await?;
    ensure!(acceptance::desired(&split) == "south-a-s1=1 south-a-s2=1 south-a-s3=1", "{}", acceptance::desired(&split));
    for zone in ["s1", "s2", "s3"] {
        let object = fleet.get("south-a", "deployment", WIDE, &format!("split-south-a-{zone}"))?.context("its own")?;
        ensure!(object["spec"]["template"]["spec"]["nodeSelector"]["topology.kubernetes.io/zone"] == zone, "{zone}");
    }
    let after = fleet.get("south-a", "deployment", WIDE, "one")?.context("what ran before")?;
    for field in ["/metadata/uid", "/metadata/generation", "/spec/replicas"] {
        ensure!(after.pointer(field) == before.pointer(field), "{field} of what ran before Cells were declared");
    }

    // A zone is removed from the cluster: the Cell of the zone keeps its workloads.
    zones(fleet, &json!(["s1", "s2"]))?;
    eventually("the Cell is outside its cluster", SOON, async || {
        let cell = fleet.get("hub", "mcell", "", "south-a-s3")?.context("the Cell stays")?;
        ensure!(cell["status"]["conditions"][0]["reason"] == "ZoneNotInCluster", "{}", cell["status"]);
        Ok(Some(()))
    })
    .await?;
    let kept = fleet.get("south-a", "deployment", WIDE, "split-south-a-s3")?.context("what runs there stays")?;
    ensure!(kept["spec"]["replicas"] == 1 && kept["metadata"]["deletionTimestamp"].is_null(), "{kept}");

    for name in ["one", "split"] {
        fleet.meridian(&["app", "delete", name, "-n", WIDE, "--yes"])?;
    }
    let change = json!({"spec": {"zones": ["s1"], "cellPerZone": null}}).to_string();
    fleet.kubectl("hub", &["patch", "mcl", "south-a", "--type", "merge", "-p", &change])?;
    fleet.kubectl("hub", &["delete", "mcell", "-l", "fleet.meridian.io/cell-per-zone=south-a", "--timeout", "30s"])?;
    fleet.kubectl("south-a", &["delete", "node", "node-s2", "node-s3"]).map(drop)
}
