//! Placement of replicas, and its explanation.

use acceptance::manifests::{MEMBERS, namespace, web};
use acceptance::{Fleet, desired};
use anyhow::{Context, ensure};
use serde_json::json;

pub(crate) async fn examples_are_placed_by_zone_and_explained(fleet: &mut Fleet) -> anyhow::Result<()> {
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");
    fleet.kubectl("hub", &["apply", "--server-side", "-f", examples])?;
    let catalog = fleet.ready("shop", "catalog").await?;
    ensure!(desired(&catalog) == "north-a=4 north-b=4 south-a=4", "{}", desired(&catalog));
    let ledger = fleet.ready("pay", "ledger").await?;
    ensure!(desired(&ledger) == "north-a=6 north-b=6 south-a=6", "{}", desired(&ledger));
    let status = ledger.status.context("a status")?;
    ensure!((status.desired, status.placed, status.available) == (12, 18, 18), "{status:?}");
    let table = fleet.kubectl("hub", &["get", "mapp", "-A"])?;
    ensure!(table.contains("n1=4,n2=4,s1=4") && table.contains("n1=6,n2=6,s1=6"), "{table}");
    let explained = fleet.meridian(&["explain", "placement", "catalog", "-n", "shop"])?;
    ensure!(explained.contains("Eligible") && explained.contains("12 replicas in 3 cells"), "{explained}");
    let lost = fleet.meridian(&["what-if", "catalog", "-n", "shop", "--lose", "zone=n1"])?;
    ensure!(lost.contains("4 of 12 replicas are lost, 8 are left: NOT enough"), "{lost}");
    let survives = fleet.meridian(&["what-if", "ledger", "-n", "pay", "--lose", "zone=n1"])?;
    ensure!(survives.contains("12 are left: enough"), "{survives}");
    for member in MEMBERS {
        let object = fleet.get(member, "deployment", "shop", "catalog")?.context("delivered")?;
        ensure!(
            object["spec"]["replicas"] == 4 && object["metadata"]["annotations"]["fleet.meridian.io/fence"].is_string()
        );
        ensure!(fleet.get(member, "configmap", "shop", "catalog")?.is_some(), "its config arrives too");
    }
    Ok(())
}

pub(crate) async fn an_override_shows_only_where_it_selects(fleet: &mut Fleet) -> anyhow::Result<()> {
    namespace(fleet, "region")?;
    let mut manifest = web("region", "web", 6);
    manifest["spec"]["overrides"] = json!([{
        "cells": {"matchLabels": {"fleet.meridian.io/region": "north"}},
        "patches": [{"component": "server", "image": "web:north"}, {"component": "server", "labels": {"tier": "gold"}}],
    }]);
    fleet.apply("hub", &manifest)?;
    fleet.ready("region", "web").await?;
    for (member, image, tier) in
        [("north-a", "web:north", Some("gold")), ("north-b", "web:north", Some("gold")), ("south-a", "web:1", None)]
    {
        let object = fleet.get(member, "deployment", "region", "web")?.context("delivered")?;
        ensure!(object["spec"]["template"]["spec"]["containers"][0]["image"] == image, "{member}");
        ensure!(object["metadata"]["labels"]["tier"].as_str() == tier, "{member}");
    }
    Ok(())
}

pub(crate) async fn two_cells_on_one_cluster_make_two_workloads(fleet: &mut Fleet) -> anyhow::Result<()> {
    namespace(fleet, "cells")?;
    for cell in ["rz01a", "rz01b"] {
        let pair = cell[4..].to_uppercase();
        fleet.apply(
            "hub",
            &json!({"apiVersion": "fleet.meridian.io/v1alpha1", "kind": "Cell", "metadata": {"name": cell},
            "spec": {"cluster": "south-a", "unit": "rz01", "unitKind": "R", "pair": pair}}),
        )?;
    }
    let mut manifest = web("cells", "web", 4);
    manifest["spec"]["placement"] = json!({"cells": {"matchLabels": {"fleet.meridian.io/unit-kind": "R"}}});
    fleet.apply("hub", &manifest)?;
    let placed = fleet.ready("cells", "web").await?;
    ensure!(desired(&placed) == "rz01a=2 rz01b=2", "{}", desired(&placed));
    for cell in ["rz01a", "rz01b"] {
        let object =
            fleet.get("south-a", "deployment", "cells", &format!("web-{cell}"))?.context("its own workload")?;
        ensure!(object["spec"]["selector"]["matchLabels"]["fleet.meridian.io/cell"] == cell);
        ensure!(object["spec"]["template"]["metadata"]["labels"]["fleet.meridian.io/cell"] == cell);
        ensure!(object["status"]["replicas"] == 2, "each counts its own pods only");
    }
    fleet.meridian(&["app", "delete", "web", "-n", "cells", "--yes"])?;
    fleet.kubectl("hub", &["delete", "mcell", "rz01a", "rz01b", "--timeout", "30s"]).map(drop)
}
