//! Ordinary edits of a running Application.
//!
//! A new name, another scope or another object loses no replica.

use acceptance::manifests::{MEMBERS, deployment, namespace, web};
use acceptance::{Fleet, History, SOON};
use anyhow::{Context, ensure};
use serde_json::{Value, json};
use testbed::eventually;

const DEPLOYMENTS: &str = "apps/v1/Deployment";

/// Applies each edit in turn.
///
/// Checks that the Application stays available and reaches the requested state.
async fn edit(fleet: &Fleet, space: &str, least: i64, edits: &[(&str, Value)]) -> anyhow::Result<()> {
    for (what, manifest) in edits {
        let history = History::follow(fleet, &MEMBERS, DEPLOYMENTS, space).await?;
        fleet.apply("hub", manifest)?;
        let after = fleet.ready(space, "web").await?;
        history.available_at_least(least).map_err(|error| error.context(format!("{what}: too few were available")))?;
        let status = after.status.unwrap_or_default();
        let placed: i32 = status.cells.iter().map(|cell| cell.desired).sum();
        // A component that is not divided keeps its own number in each cell.
        let asked = manifest["spec"]["replicas"].as_i64();
        ensure!(
            asked.is_none_or(|asked| i64::from(placed) == asked),
            "{what}: {placed} of {asked:?} are placed: {status:?}"
        );
        for member in MEMBERS {
            let there = fleet.kubectl(member, &["get", "deploy", "-n", space, "-o", "name"])?;
            ensure!(there.lines().count() == 1, "{what}: {member} has {there}");
        }
    }
    Ok(())
}

pub(crate) async fn new_names_and_scopes_lose_no_replica(fleet: &mut Fleet) -> anyhow::Result<()> {
    const SPACE: &str = "edits";
    namespace(fleet, SPACE)?;
    let first = web(SPACE, "web", 6);
    fleet.apply("hub", &first)?;
    fleet.ready(SPACE, "web").await?;
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut manifest = first.clone();
        change(&mut manifest["spec"]);
        manifest
    };
    let renamed = changed(&|spec| spec["components"][0]["name"] = json!("srv"));
    let other = changed(&|spec| spec["components"][0]["template"]["metadata"]["name"] = json!("other"));
    let per_cell = changed(&|spec| {
        spec["components"][0]["scope"] = json!("PerCell");
        spec["components"][0]["template"]["spec"]["replicas"] = json!(2);
        spec.as_object_mut().map(|spec| spec.remove("replicas"));
    });
    edit(
        fleet,
        SPACE,
        6,
        &[
            ("another name of the component", renamed),
            ("the old name again", first.clone()),
            ("another name of the object", other),
            ("the old object again", first.clone()),
            ("a number of its own in each cell", per_cell),
            ("divided again", first.clone()),
        ],
    )
    .await
}

pub(crate) async fn deployment_stays_until_the_set_in_its_place_runs(fleet: &mut Fleet) -> anyhow::Result<()> {
    const SPACE: &str = "sets";
    namespace(fleet, SPACE)?;
    let mut manifest = web(SPACE, "web", 6);
    manifest["spec"].as_object_mut().context("a spec")?.remove("replicas");
    manifest["spec"]["components"][0]["scope"] = json!("PerCell");
    manifest["spec"]["components"][0]["template"]["spec"]["replicas"] = json!(2);
    let deployment = manifest.clone();
    fleet.apply("hub", &deployment)?;
    fleet.ready(SPACE, "web").await?;

    // The pods of this StatefulSet fit no node.
    let history = History::follow(fleet, &MEMBERS, DEPLOYMENTS, SPACE).await?;
    let template = &mut manifest["spec"]["components"][0]["template"];
    template["kind"] = json!("StatefulSet");
    template["spec"]["serviceName"] = json!("web");
    template["spec"]["template"]["spec"]["nodeSelector"] = json!({"example.org/pool": "none"});
    fleet.apply("hub", &manifest)?;
    eventually("the first set has its pods, which wait for nodes", SOON, async || {
        let set = fleet.get("north-a", "statefulset", SPACE, "web")?.context("no set yet")?;
        ensure!(set["status"]["replicas"].as_i64().is_some_and(|pods| pods > 0), "{}", set["status"]);
        Ok(Some(()))
    })
    .await?;
    // Reverting the edit deletes the StatefulSet.
    fleet.apply("hub", &deployment)?;
    fleet.ready(SPACE, "web").await?;
    history.available_at_least(6)?;
    for member in MEMBERS {
        let there = fleet.kubectl(member, &["get", "deploy,statefulset", "-n", SPACE, "-o", "name"])?;
        ensure!(there.trim() == "deployment.apps/web", "{member} has {there}");
    }
    fleet.meridian(&["app", "delete", "web", "-n", SPACE, "--yes"]).map(drop)
}

pub(crate) async fn a_name_that_becomes_free_is_taken(fleet: &mut Fleet) -> anyhow::Result<()> {
    const SPACE: &str = "names";
    namespace(fleet, SPACE)?;
    fleet.apply("hub", &web(SPACE, "web", 3))?;
    fleet.ready(SPACE, "web").await?;
    let mut second = web(SPACE, "second", 3);
    second["spec"]["components"][0]["template"] = deployment("web", "web:1");
    fleet.apply("hub", &second)?;
    let refused = |app: &crds::Application| {
        acceptance::condition(app, "Ready").is_some_and(|(ready, why)| ready == "False" && why.contains("belongs to"))
    };
    fleet.app_until(SPACE, "second", "refused", refused).await?;
    // The refusal holds at the next decision too, which an edit causes.
    second["spec"]["replicas"] = json!(4);
    fleet.apply("hub", &second)?;
    fleet
        .app_until(SPACE, "second", "refused for its new number", |app| {
            refused(app) && app.status.as_ref().is_some_and(|status| status.desired == 4)
        })
        .await?;
    fleet.meridian(&["app", "delete", "web", "-n", SPACE, "--yes"])?;
    let after = fleet.ready(SPACE, "second").await?;
    let placed: i32 = after.status.iter().flat_map(|status| &status.cells).map(|cell| cell.desired).sum();
    ensure!(placed == 4, "{placed} of 4 are placed");
    fleet.meridian(&["app", "delete", "second", "-n", SPACE, "--yes"]).map(drop)
}
