//! Replicas and revisions move without ever going the wrong way.

use acceptance::manifests::{MEMBERS, namespace, patch, web};
use acceptance::{Fleet, History, condition, desired};
use anyhow::{Context, ensure};
use serde_json::json;

const DEPLOYMENTS: &str = "apps/v1/Deployment";

fn numbers(app: &crds::Application) -> Vec<i32> {
    app.status.iter().flat_map(|status| status.cells.iter().map(|cell| cell.desired)).collect()
}

pub(crate) async fn scaling_never_moves_a_cell_the_wrong_way(fleet: &mut Fleet) -> anyhow::Result<()> {
    namespace(fleet, "scale")?;
    fleet.apply("hub", &web("scale", "web", 12))?;
    fleet.ready("scale", "web").await?;

    let growing = History::follow(fleet, &MEMBERS, DEPLOYMENTS, "scale").await?;
    fleet.kubectl("hub", &["scale", "mapp", "web", "-n", "scale", "--replicas=20"])?;
    let grown = fleet.ready("scale", "web").await?;
    let scale = fleet.kubectl("hub", &["get", "mapp", "web", "-n", "scale", "--subresource=scale", "-o", "json"])?;
    let scale: serde_json::Value = serde_json::from_str(&scale)?;
    ensure!(scale["spec"]["replicas"] == 20 && scale["status"]["replicas"] == 20, "{scale}");
    ensure!(numbers(&grown).iter().sum::<i32>() == 20, "{}", desired(&grown));
    growing.replicas_never_fall()?;
    growing.available_at_least(12)?;
    drop(growing);

    let shrinking = History::follow(fleet, &MEMBERS, DEPLOYMENTS, "scale").await?;
    patch(fleet, "scale", "web", &json!({"spec": {"replicas": 7}}))?;
    let shrunk = fleet.ready("scale", "web").await?;
    ensure!(numbers(&shrunk).iter().sum::<i32>() == 7, "{}", desired(&shrunk));
    shrinking.replicas_never_rise()?;
    shrinking.available_at_least(7)?;
    for member in MEMBERS {
        ensure!(shrinking.lives(member, "web") == 1, "{member}: it is one object all the time");
        // First apply, growth, and shrinking: at most one write for each change.
        let writes = fleet.bed.member(member)?.audit().count(|event| {
            event.is_write()
                && event.namespace == "scale"
                && event.resource == "deployments"
                && event.user.contains("meridian")
        });
        ensure!((1..=4).contains(&writes), "{member}: {writes} writes for three changes");
    }
    Ok(())
}

/// A cell gets the new revision only when the previous cell is ready: one cell changes at a time.
pub(crate) async fn a_revision_goes_cell_by_cell(fleet: &mut Fleet) -> anyhow::Result<()> {
    namespace(fleet, "revise")?;
    fleet.apply("hub", &web("revise", "web", 6))?;
    let before = fleet.ready("revise", "web").await?;
    let mut changed = web("revise", "web", 6);
    changed["spec"]["components"][0]["template"]["spec"]["template"]["spec"]["containers"][0]["image"] = json!("web:2");
    fleet.apply("hub", &changed)?;
    let after = fleet
        .app_until("revise", "web", "on the new revision", |app| {
            let Some(status) = &app.status else { return false };
            let new = status.revision.clone().unwrap_or_default();
            let unsettled =
                status.cells.iter().filter(|cell| cell.revision == new && cell.updated < cell.placed).count();
            assert!(unsettled <= 1, "{unsettled} cells work on the new revision at once: {status:?}");
            status.cells.iter().all(|cell| cell.revision == new)
                && condition(app, "Ready").is_some_and(|(ready, _)| ready == "True")
        })
        .await?;
    ensure!(
        before.status.as_ref().and_then(|status| status.revision.clone())
            != after.status.as_ref().and_then(|status| status.revision.clone())
    );
    ensure!(desired(&before) == desired(&after), "a revision moves nothing");
    let history = after.status.map(|status| status.history).unwrap_or_default();
    ensure!(history.len() == 2 && history.iter().any(|revision| revision.was_ready), "{history:?}");
    Ok(())
}

/// Labels and annotations of the workload object restart no pod, so no cell waits for another.
pub(crate) async fn a_revision_that_restarts_nothing_goes_everywhere_at_once(fleet: &mut Fleet) -> anyhow::Result<()> {
    namespace(fleet, "note")?;
    fleet.apply("hub", &web("note", "web", 6))?;
    fleet.ready("note", "web").await?;
    // Number of transactions that made the last changes of the rows, and number of rows.
    let transactions = "select count(distinct p.xmin::text) || ' of ' || count(*) from placement p join application a on a.id = p.app where a.namespace = 'note'";
    let mut changed = web("note", "web", 6);
    let places = ["/spec/template/metadata/annotations", "/metadata/annotations"];
    for (place, expected) in places.into_iter().zip(["3 of 3", "1 of 3"]) {
        let template = &mut changed["spec"]["components"][0]["template"];
        let parent = place.trim_end_matches("/annotations");
        template.pointer_mut(parent).context("it has metadata")?["annotations"] = json!({"note": "changed"});
        fleet.apply("hub", &changed)?;
        fleet.ready("note", "web").await?;
        let found = fleet.bed.postgres.query(transactions)?;
        ensure!(found == expected, "{place} of {expected}: {found}");
        for member in MEMBERS {
            let object = fleet.get(member, "deployment", "note", "web")?.context("delivered")?;
            let note = object.pointer(place).map(|annotations| &annotations["note"]);
            ensure!(note == Some(&json!("changed")), "{member}: {note:?}");
        }
    }
    fleet.meridian(&["app", "delete", "web", "-n", "note", "--yes", "--timeout", "60s"]).map(drop)
}

pub(crate) async fn drain_is_never_below_desired_and_nothing_moves_back(fleet: &mut Fleet) -> anyhow::Result<()> {
    namespace(fleet, "drain")?;
    fleet.apply("hub", &web("drain", "web", 9))?;
    let before = fleet.ready("drain", "web").await?;
    ensure!(desired(&before) == "north-a=3 north-b=3 south-a=3", "{}", desired(&before));

    let history = History::follow(fleet, &MEMBERS, DEPLOYMENTS, "drain").await?;
    let is_ready = |app: &crds::Application| condition(app, "Ready").is_some_and(|(ready, _)| ready == "True");
    fleet.meridian(&["cluster", "drain", "north-b", "--yes"])?;
    let moved = fleet
        .app_until("drain", "web", "moved", |app| {
            !desired(app).contains("north-b")
                && app.status.as_ref().is_some_and(|status| status.cells.len() == 2)
                && is_ready(app)
        })
        .await?;
    fleet.meridian(&["cluster", "drain", "north-b", "--yes", "--wait", "--timeout", "60s"])?;
    ensure!(fleet.get("north-b", "deployment", "drain", "web")?.is_none(), "the drained cluster is empty");
    history.available_at_least(9)?;

    fleet.meridian(&["cluster", "uncordon", "north-b"])?;
    let after = fleet
        .app_until("drain", "web", "told of a rebalance", |app| condition(app, "RebalanceNeeded").is_some())
        .await?;
    ensure!(desired(&moved) == desired(&after), "nothing moves back by itself");
    fleet.meridian(&["rebalance", "web", "-n", "drain", "--yes"])?;
    fleet
        .app_until("drain", "web", "rebalanced", |app| desired(app) == "north-a=3 north-b=3 south-a=3" && is_ready(app))
        .await?;
    history.available_at_least(9)?;
    ensure!(
        history.lives("north-a", "web") == 1 && history.lives("south-a", "web") == 1,
        "what stays is not made anew"
    );
    Ok(())
}
