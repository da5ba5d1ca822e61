//! Intent of users is lost or looks lost.
//!
//! The fleet stays unchanged, and the condition names the remedy.

use acceptance::manifests::{MEMBERS, app, deployment, namespace, patch, web};
use acceptance::{Fleet, SOON, condition};
use anyhow::{Context, ensure};
use crds::Application;
use kube::Api;
use serde_json::{Value, json};
use testbed::{Revisions, eventually};

/// Returns the number of objects of a namespace that Meridian has deleted in all members so far.
fn deletes(fleet: &Fleet, namespace: &str) -> usize {
    let events = fleet.member_events();
    events.iter().filter(|(_, event)| event.is_deletion() && event.namespace == namespace).count()
}

fn creations(fleet: &Fleet, namespace: &str) -> usize {
    let events = fleet.member_events();
    events.iter().filter(|(_, event)| event.is_creation() && event.namespace == namespace).count()
}

/// Returns the sum of `spec.replicas` of the Deployments `web` in all members.
fn total_replicas(fleet: &Fleet, namespace: &str) -> anyhow::Result<i64> {
    Ok(shares(fleet, namespace)?.iter().sum())
}

/// Returns `spec.replicas` of the Deployment `web` in each member.
fn shares(fleet: &Fleet, namespace: &str) -> anyhow::Result<Vec<i64>> {
    let share = |member| {
        let object = fleet.get(member, "deployment", namespace, "web")?;
        Ok(object.and_then(|object| object["spec"]["replicas"].as_i64()).unwrap_or(0))
    };
    MEMBERS.into_iter().map(share).collect()
}

/// Accepts the present state of an Application on the hub, as a person would.
fn accept(fleet: &Fleet, namespace: &str, name: &str) -> anyhow::Result<()> {
    fleet.meridian(&["intake", "accept", name, "-n", namespace, "--yes"]).map(drop)
}

async fn source_lost(fleet: &Fleet, namespace: &str, name: &str) -> anyhow::Result<()> {
    let apps: Api<Application> = Api::namespaced(fleet.client("hub").await?, namespace);
    let message = eventually("its source is lost", SOON, async || {
        let conditions = apps.get(name).await?.status.map(|status| status.conditions).unwrap_or_default();
        let ready = conditions.into_iter().find(|one| one.type_ == "Ready");
        let lost = ready.filter(|ready| ready.status == "False" && ready.reason == "IntentSourceLost");
        Ok(lost.map(|ready| ready.message))
    })
    .await?;
    let remedy = format!("meridian intake accept {name} -n {namespace}");
    ensure!(message.contains("members stay as they are") && message.contains(&remedy), "{message}");
    Ok(())
}

pub(crate) async fn an_edit_that_prunes_much_waits_for_a_person(fleet: &mut Fleet) -> anyhow::Result<()> {
    namespace(fleet, "prune")?;
    let mut components = vec![json!({"name": "server", "template": deployment("web", "web:1")})];
    components.extend((0..9).map(|number| {
        let name = format!("part-{number}");
        json!({"name": name, "template": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": "v"}}})
    }));
    let only = json!({"cells": {"matchLabels": {"fleet.meridian.io/cluster": "north-a"}}});
    let manifest = |count: usize| {
        app("prune", "web", json!({"replicas": 2, "components": components[..count], "placement": only}))
    };
    fleet.apply("hub", &manifest(10))?;
    fleet.ready("prune", "web").await?;

    fleet.apply("hub", &manifest(6))?;
    let blocked = fleet
        .app_until("prune", "web", "deletes wait", |app| {
            condition(app, "DeletionBlocked").is_some_and(|(status, _)| status == "True")
        })
        .await?;
    let conditions = &blocked.status.as_ref().context("a status")?.conditions;
    ensure!(conditions.iter().any(|one| one.type_ == "DeletionBlocked" && one.reason == "MassDelete"));
    let pending = blocked.status.as_ref().and_then(|status| status.pending_deletes.clone()).context("what waits")?;
    ensure!(pending.count == 4 && pending.objects.len() == 4, "{pending:?}");
    ensure!(pending.objects.contains(&"north-a: ConfigMap part-5".to_owned()), "{pending:?}");
    let (_, message) = condition(&blocked, "DeletionBlocked").context("a condition")?;
    ensure!(message.contains("app confirm-delete web -n prune --plan") && message.contains(&pending.plan), "{message}");
    ensure!(deletes(fleet, "prune") == 0, "nothing is deleted without a word");

    // The hash of another plan confirms nothing.
    let confirm = |plan: &str| json!({"metadata": {"annotations": {"fleet.meridian.io/confirm-delete": plan}}});
    let mut wrong = confirm(&"0".repeat(pending.plan.len()));
    patch(fleet, "prune", "web", &wrong)?;
    fleet.operator()?.process.end()?;
    fleet.operator()?.process.start()?;
    eventually("a restarted operator is ready", SOON, async || {
        Ok(fleet.probe("/readyz")?.contains("200").then_some(()))
    })
    .await?;
    // The edit proves that the operator has seen the hash: a status from before may be older than the hash.
    wrong["spec"] = json!({"replicas": 3});
    patch(fleet, "prune", "web", &wrong)?;
    let blocked = fleet
        .app_until("prune", "web", "deletes still wait after a restart", |app| {
            let grown = app.status.as_ref().is_some_and(|status| status.available == 3);
            grown && condition(app, "DeletionBlocked").is_some_and(|(status, _)| status == "True")
        })
        .await?;
    ensure!(deletes(fleet, "prune") == 0, "a restart or a wrong hash confirms nothing");
    let pending = blocked.status.and_then(|status| status.pending_deletes).context("what waits")?;
    patch(fleet, "prune", "web", &confirm(&pending.plan))?;
    fleet.ready("prune", "web").await?;
    for number in 0..9 {
        let there = fleet.get("north-a", "configmap", "prune", &format!("part-{number}"))?.is_some();
        ensure!(there == (number < 5), "part-{number}");
    }
    // An edit that was confirmed beforehand does not wait: the edit removes three of six objects, more than 30 %.
    let file = fleet.bed.folder().join("prune.json");
    std::fs::write(&file, manifest(3).to_string())?;
    let shown = fleet.meridian(&["what-if", "-f", &file.to_string_lossy(), "-n", "prune", "-o", "json"])?;
    let shown: serde_json::Value = serde_json::from_str(&shown)?;
    let plan = shown["leaving"]["plan"].as_str().context("the plan of the edit")?;
    patch(fleet, "prune", "web", &confirm(plan))?;
    fleet.apply("hub", &manifest(3))?;
    fleet.ready("prune", "web").await?;
    ensure!(fleet.get("north-a", "configmap", "prune", "part-2")?.is_none(), "the edit was confirmed");
    ensure!(fleet.get("north-a", "configmap", "prune", "part-1")?.is_some(), "it stays");
    // A deletion by name does not use up the delete window of others.
    let counted = fleet.bed.postgres.query("select coalesce(sum(objects), 0) from delete_window")?;
    fleet.meridian(&["app", "delete", "web", "-n", "prune", "--yes"])?;
    let after = fleet.bed.postgres.query("select coalesce(sum(objects), 0) from delete_window")?;
    ensure!(counted == after, "a deletion by name counts: {counted}, then {after}");
    Ok(())
}

pub(crate) async fn a_namespace_that_goes_leaves_the_fleet_as_it_is(fleet: &mut Fleet) -> anyhow::Result<()> {
    namespace(fleet, "swept")?;
    fleet.apply("hub", &web("swept", "web", 6))?;
    fleet.ready("swept", "web").await?;
    fleet.kubectl("hub", &["delete", "namespace", "swept", "--timeout=60s"])?;
    ensure!(
        total_replicas(fleet, "swept")? == 6 && deletes(fleet, "swept") == 0,
        "the fleet follows a namespace that goes"
    );
    let left = fleet.get("north-a", "deployment", "swept", "web")?.context("it runs on")?;
    ensure!(left["metadata"]["labels"]["fleet.meridian.io/managed"].is_null(), "and belongs to nobody");
    Ok(())
}

pub(crate) async fn a_hub_restored_from_an_older_snapshot_moves_nothing(fleet: &mut Fleet) -> anyhow::Result<()> {
    a_hub_restored(fleet, Revisions::Bumped, ["restored", "younger"]).await
}

/// The hub is restored without etcd's instructions: its revisions go back.
pub(crate) async fn a_hub_restored_with_revisions_that_go_back_moves_nothing(fleet: &mut Fleet) -> anyhow::Result<()> {
    a_hub_restored(fleet, Revisions::GoBack, ["went-back", "later"]).await
}

/// Creates an Application that a placement policy restricts to one cluster.
async fn placed_by_policy(fleet: &Fleet, space: &str) -> anyhow::Result<()> {
    namespace(fleet, space)?;
    policy(fleet, space, "north-a")?;
    let mut manifest = web(space, "web", 6);
    let spec = manifest["spec"].as_object_mut().context("a spec")?;
    spec.remove("placement");
    spec.insert("placementPolicyRef".to_owned(), json!({"name": "where"}));
    fleet.apply("hub", &manifest)?;
    fleet.ready(space, "web").await?;
    ensure!(shares(fleet, space)? == [6, 0, 0]);
    Ok(())
}

fn policy(fleet: &Fleet, space: &str, cluster: &str) -> anyhow::Result<()> {
    let spec = json!({"cells": {"matchLabels": {"fleet.meridian.io/cluster": cluster}}});
    let object = json!({"apiVersion": "fleet.meridian.io/v1alpha1", "kind": "PlacementPolicy",
        "metadata": {"name": "where", "namespace": space}, "spec": spec});
    fleet.apply("hub", &object)
}

/// Checks that an older Cluster is refused until a person runs the command in its condition.
///
/// `stored` is an SQL expression over the row of the cluster. `newer` and `older` are its values for the state of the
/// hub before and after the restore.
async fn older_cluster(fleet: &Fleet, name: &str, stored: &str, [newer, older]: [&str; 2]) -> anyhow::Result<()> {
    let version = format!("select coalesce(resource_version, 0) from cluster where name = '{name}'");
    let remedy = eventually("the older Cluster is refused", SOON, async || {
        let cluster = fleet.get("hub", "mcl", "", name)?.context("a cluster")?;
        let conditions = cluster["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let ready = conditions.into_iter().find(|one| one["type"] == "Ready").context("a condition")?;
        let taken = fleet.bed.postgres.query(&version)?;
        let version = &cluster["metadata"]["resourceVersion"];
        ensure!(ready["reason"] == "IntentSourceLost", "{ready}, version {version}, of the one taken in {taken}");
        let message = ready["message"].as_str().unwrap_or_default().to_owned();
        Ok(message.split('`').nth(1).and_then(|command| command.strip_prefix("kubectl ")).map(str::to_owned))
    })
    .await?;
    let query = format!("select coalesce({stored}, '') from cluster where name = '{name}'");
    let found = fleet.bed.postgres.query(&query)?;
    ensure!(found == newer, "an older Cluster is no order: {stored} is {found:?}, not {newer:?}");
    fleet.kubectl("hub", &remedy.split(' ').collect::<Vec<_>>())?;
    eventually("what a person accepts is taken in", SOON, async || {
        Ok((fleet.bed.postgres.query(&query)? == older).then_some(()))
    })
    .await
}

/// Checks that an Application deleted after the snapshot comes back only when a person accepts it.
async fn deleted_since(fleet: &Fleet, space: &str) -> anyhow::Result<()> {
    let before = creations(fleet, space);
    source_lost(fleet, space, "web").await?;
    ensure!(
        total_replicas(fleet, space)? == 0 && creations(fleet, space) == before,
        "what was deleted comes back by itself"
    );
    accept(fleet, space, "web")?;
    fleet.ready(space, "web").await?;
    ensure!(total_replicas(fleet, space)? == 3, "an accepted Application is one");
    fleet.meridian(&["app", "delete", "web", "-n", space, "--yes"]).map(drop)
}

/// Raises the hub's revision by some hundreds.
fn write_often(fleet: &Fleet, space: &str) -> anyhow::Result<()> {
    let object = |number: usize| {
        json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": format!("written-{number}"), "namespace": space}})
    };
    let items: Vec<_> = (0..400).map(object).collect();
    fleet.apply("hub", &json!({"apiVersion": "v1", "kind": "List", "items": items}))
}

async fn a_hub_restored(fleet: &mut Fleet, revisions: Revisions, [old, young]: [&str; 2]) -> anyhow::Result<()> {
    namespace(fleet, old)?;
    fleet.apply("hub", &web(old, "web", 6))?;
    fleet.ready(old, "web").await?;
    let by_policy = format!("{old}-by-policy");
    placed_by_policy(fleet, &by_policy).await?;
    let deleted = format!("{old}-deleted");
    namespace(fleet, &deleted)?;
    fleet.apply("hub", &web(&deleted, "web", 3))?;
    fleet.ready(&deleted, "web").await?;
    fleet.meridian(&["cluster", "cordon", "south-a"])?;
    // An earlier restore may have left a label.
    let before = fleet.get("hub", "mcl", "", "north-b")?.context("a cluster")?;
    let before = before["metadata"]["labels"]["tier"].as_str().unwrap_or_default().to_owned();
    let snapshot = fleet.bed.snapshot("hub", old).await?;
    fleet.meridian(&["cluster", "uncordon", "south-a"])?;
    policy(fleet, &by_policy, "north-b")?;
    let moved = [0, 6, 0];
    eventually("the newer policy is followed", SOON, async || Ok((shares(fleet, &by_policy)? == moved).then_some(())))
        .await?;
    patch(fleet, old, "web", &json!({"spec": {"replicas": 9}}))?;
    fleet.ready(old, "web").await?;
    fleet.meridian(&["app", "delete", "web", "-n", &deleted, "--yes"])?;
    // Revisions that the hub assigns after the restore stay below the revision of the label.
    write_often(fleet, &by_policy)?;
    // A label does not raise the generation of its object.
    let tier = "labels ->> 'tier'";
    // The value is new, whatever an earlier restore left behind.
    fleet.kubectl("hub", &["label", "--overwrite", "mcl", "north-b", &format!("tier={old}")])?;
    let labelled = format!("select {tier} from cluster where name = 'north-b'");
    eventually("the label is taken in", SOON, async || Ok((fleet.bed.postgres.query(&labelled)? == old).then_some(())))
        .await?;
    namespace(fleet, young)?;
    fleet.apply("hub", &web(young, "web", 3))?;
    fleet.ready(young, "web").await?;

    fleet.bed.restore("hub", Some(&snapshot), revisions).await?;
    source_lost(fleet, old, "web").await?;
    ensure!(total_replicas(fleet, old)? == 9, "an older spec is no order");
    ensure!(total_replicas(fleet, young)? == 3, "an absent object is no delete");
    source_lost(fleet, &by_policy, "web").await?;
    ensure!(shares(fleet, &by_policy)? == moved, "an older policy is no order");
    older_cluster(fleet, "south-a", "spec ->> 'cordoned'", ["", "true"]).await?;
    fleet.meridian(&["cluster", "uncordon", "south-a"])?;
    // With bumped revisions, the next write to the object hides that its version went back.
    if matches!(revisions, Revisions::GoBack) {
        older_cluster(fleet, "north-b", tier, [old, &before]).await?;
    }
    deleted_since(fleet, &deleted).await?;
    ensure!(deletes(fleet, old) + deletes(fleet, young) == 0);

    accept(fleet, old, "web")?;
    fleet.ready(old, "web").await?;
    ensure!(total_replicas(fleet, old)? == 6, "an accepted spec is one");
    // A new object under an old name is another object; a person must accept it.
    namespace(fleet, young)?;
    fleet.apply("hub", &web(young, "web", 3))?;
    source_lost(fleet, young, "web").await?;
    let before = creations(fleet, young);
    accept(fleet, young, "web")?;
    fleet.ready(young, "web").await?;
    ensure!(creations(fleet, young) == before, "what runs is kept, not made again");
    Ok(())
}

pub(crate) async fn a_kind_that_goes_from_the_hub_leaves_the_fleet_as_it_is(fleet: &mut Fleet) -> anyhow::Result<()> {
    namespace(fleet, "kind")?;
    fleet.apply("hub", &web("kind", "web", 6))?;
    fleet.ready("kind", "web").await?;
    fleet.kubectl("hub", &["delete", "crd", "applications.fleet.meridian.io", "--timeout=60s"])?;
    ensure!(total_replicas(fleet, "kind")? == 6 && deletes(fleet, "kind") == 0, "the fleet follows a kind that goes");
    fleet.install()?;
    let mut manifest = web("kind", "web", 6);
    manifest["spec"]["adopt"] = json!("Always");
    fleet.apply("hub", &manifest)?;
    fleet.ready("kind", "web").await?;
    ensure!(total_replicas(fleet, "kind")? == 6 && deletes(fleet, "kind") == 0);
    fleet.meridian(&["app", "delete", "web", "-n", "kind", "--yes", "--timeout", "60s"]).map(drop)
}

/// The hub loses all objects. This scenario is the last one of its fleet.
pub(crate) async fn a_hub_rebuilt_empty_moves_nothing(fleet: &mut Fleet) -> anyhow::Result<()> {
    namespace(fleet, "rebuilt")?;
    let mut manifest = web("rebuilt", "web", 6);
    fleet.apply("hub", &manifest)?;
    fleet.ready("rebuilt", "web").await?;
    let (created, deleted) = (creations(fleet, "rebuilt"), deletes(fleet, "rebuilt"));
    fleet.bed.restore("hub", None, Revisions::GoBack).await?;
    fleet.install()?;
    for member in fleet.plan.members.clone() {
        fleet.join(&member)?;
    }
    ensure!(total_replicas(fleet, "rebuilt")? == 6, "an empty hub is no order");
    namespace(fleet, "rebuilt")?;
    manifest["spec"]["replicas"] = json!(9);
    fleet.apply("hub", &manifest)?;
    source_lost(fleet, "rebuilt", "web").await?;
    ensure!(total_replicas(fleet, "rebuilt")? == 6);
    accept(fleet, "rebuilt", "web")?;
    fleet.ready("rebuilt", "web").await?;
    ensure!(total_replicas(fleet, "rebuilt")? == 9, "an accepted spec is an order");
    let now = (creations(fleet, "rebuilt"), deletes(fleet, "rebuilt"));
    ensure!(now == (created, deleted), "what runs is kept: {now:?} instead of {:?}", (created, deleted));
    let rows: Value = json!(fleet.bed.postgres.query("select count(*) from application where namespace = 'rebuilt'")?);
    ensure!(rows == "1", "{rows} rows of one application");
    Ok(())
}
