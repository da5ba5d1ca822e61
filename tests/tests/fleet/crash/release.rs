//! A release while the operator dies.

use acceptance::manifests::{MEMBERS, namespace, web};
use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::{Victim, over};

/// Returns an Application that goes by beta and one batch of all replicas.
fn released(name: &str, image: &str) -> Value {
    let mut manifest = web(name, "web", 6);
    manifest["spec"]["components"][0]["template"]["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
    manifest["spec"]["release"] = json!({"beta": true, "minReady": "0s"});
    manifest
}

/// Releases a revision, and checks that one operation did it and nothing of it is left.
pub(super) async fn release(victim: &mut Victim<'_>, name: &str) -> anyhow::Result<()> {
    namespace(victim.fleet, name)?;
    victim.fleet.apply("hub", &released(name, "web:1"))?;
    victim.ready(name).await?;
    victim.fleet.apply("hub", &released(name, "web:2"))?;
    let query = format!("select id from operation where kind = 'release' and spec ->> 'application' = '{name}/web'");
    victim.until("a release is there", async |fleet| Ok(!fleet.bed.postgres.query(&query)?.is_empty())).await?;
    let id = victim.fleet.bed.postgres.query(&query)?;
    ensure!(id.lines().count() == 1, "one revision is one release: {id}");
    over(victim, &id, "Succeeded").await?;
    victim.ready(name).await?;
    let row = format!(
        "select r.state, r.operation = '{id}', (select count(*) from placement_directive where owner = 'operation/{id}') \
         from application_release r join application a on a.id = r.app where a.namespace = '{name}'"
    );
    let row = victim.fleet.bed.postgres.query(&row)?;
    ensure!(row == "Released|t|0", "the row of the release is {row}");
    for member in MEMBERS {
        let list = victim.fleet.kubectl(member, &["get", "deployments", "-n", name, "-o", "json"])?;
        let list: Value = serde_json::from_str(&list)?;
        let items = list["items"].as_array().context("items")?;
        let images: Vec<&Value> =
            items.iter().map(|item| &item["spec"]["template"]["spec"]["containers"][0]["image"]).collect();
        ensure!(images.iter().all(|image| **image == "web:2") && images.len() <= 1, "{member} has {images:?}");
    }
    victim.fleet.meridian(&["app", "delete", "web", "-n", name, "--yes", "--timeout", "60s"]).map(drop)
}
