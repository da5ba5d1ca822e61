//! Deletion of Applications.

use acceptance::Fleet;
use acceptance::manifests::{namespace, web};
use anyhow::{Context, ensure};
use serde_json::json;

pub(crate) async fn deleting_an_application_removes_what_it_delivered(fleet: &mut Fleet) -> anyhow::Result<()> {
    namespace(fleet, "gone")?;
    for (name, policy) in [("leaves", "Delete"), ("stays", "Orphan")] {
        let mut manifest = web("gone", name, 3);
        manifest["spec"]["deletion"] = json!({"policy": policy});
        fleet.apply("hub", &manifest)?;
        fleet.ready("gone", name).await?;
        fleet.meridian(&["app", "delete", name, "-n", "gone", "--yes", "--timeout", "60s"])?;
    }
    ensure!(fleet.get("north-a", "deployment", "gone", "leaves")?.is_none());
    let kept = fleet.get("north-a", "deployment", "gone", "stays")?.context("an orphan runs on")?;
    ensure!(kept["metadata"]["labels"]["fleet.meridian.io/managed"].is_null(), "and does not belong to Meridian");
    let rows = fleet.bed.postgres.query("select count(*) from application where namespace = 'gone'")?;
    ensure!(rows == "0", "no row is left");
    Ok(())
}
