//! A member is silent, in each of the ways in which that happens.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use acceptance::manifests::{namespace, web};
use acceptance::{Fleet, History, SOON, condition, desired};
use anyhow::{Context, ensure};
use crds::Application;
use jiff::Timestamp;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use testbed::{GatewayMode, LinkMode, PlaneProcess, eventually};

const DEPLOYMENTS: &str = "apps/v1/Deployment";
/// Member that falls silent; `OTHERS` are the other members.
const VICTIM: &str = "north-b";
const OTHERS: [&str; 3] = ["north-a", "south-a", "south-b"];
/// Timeout for noticing a silence with the operator's defaults.
const NOTICED: Duration = Duration::from_secs(15);
/// Maximum time in which an answer that was under way may still arrive.
const UNDER_WAY: Duration = Duration::from_secs(1);
/// Number of timed single edits; the median counts.
const EDITS: i32 = 5;
/// Difference between two measurements of the same thing on a busy machine.
const NOISE: Duration = Duration::from_millis(150);

/// Cause of the silence of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Silence {
    Frozen,
    BlackHole,
    WatchesHeld,
    Throttled,
}

impl Silence {
    pub(crate) fn begin(self, fleet: &mut Fleet, member: &str) -> anyhow::Result<()> {
        match self {
            Self::Frozen => fleet.bed.member_mut(member)?.process(PlaneProcess::Api)?.pause()?,
            Self::BlackHole => fleet.way(member)?.link.set(LinkMode::BlackHole),
            Self::WatchesHeld => fleet.way(member)?.gateway.set(GatewayMode::HoldWatches),
            Self::Throttled => fleet.way(member)?.gateway.set(GatewayMode::Throttle(Duration::from_secs(1))),
        }
        Ok(())
    }

    pub(crate) fn end(self, fleet: &mut Fleet, member: &str) -> anyhow::Result<()> {
        match self {
            Self::Frozen => fleet.bed.member_mut(member)?.process(PlaneProcess::Api)?.resume()?,
            Self::BlackHole => fleet.way(member)?.link.set(LinkMode::Open),
            Self::WatchesHeld | Self::Throttled => fleet.way(member)?.gateway.set(GatewayMode::Pass),
        }
        Ok(())
    }

    /// Returns the reasons that the Cluster may report for this silence.
    fn reasons(self) -> &'static [&'static str] {
        match self {
            Self::Frozen | Self::BlackHole => &["Silent", "Unreachable", "TimedOut", "WatchStale"],
            Self::WatchesHeld => &["WatchStale"],
            Self::Throttled => &["Throttled"],
        }
    }
}

/// Returns status, reason and message of a Cluster's `Ready`, and its `asOf`.
fn cluster_ready(fleet: &Fleet, cluster: &str) -> anyhow::Result<(String, String, String, String)> {
    let shown: serde_json::Value =
        serde_json::from_str(&fleet.kubectl("hub", &["get", "mcl", cluster, "-o", "json"])?)?;
    let conditions = shown["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let ready = conditions.into_iter().find(|one| one["type"] == "Ready").context("a condition")?;
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    Ok((text(&ready["status"]), text(&ready["reason"]), text(&ready["message"]), text(&shown["status"]["asOf"])))
}

pub(crate) async fn cluster_until(fleet: &Fleet, cluster: &str, status: &str) -> anyhow::Result<(String, String)> {
    eventually(&format!("{cluster} is {status}"), SOON, async || {
        let (ready, reason, message, _) = cluster_ready(fleet, cluster)?;
        ensure!(ready == status, "{ready}: {reason}: {message}");
        Ok(Some((reason, message)))
    })
    .await
}

/// Builds an Application whose lost replicas run elsewhere after a silence of 5 s.
pub(crate) fn reschedules(namespace: &str, name: &str, replicas: i32) -> serde_json::Value {
    reschedules_after("5s", namespace, name, replicas)
}

pub(crate) fn reschedules_after(after: &str, namespace: &str, name: &str, replicas: i32) -> serde_json::Value {
    let mut manifest = web(namespace, name, replicas);
    manifest["spec"]["placement"] = json!({});
    manifest["spec"]["failover"] = json!({"mode": "Reschedule", "after": after, "duplicates": "Tolerate"});
    manifest
}

pub(crate) fn by_cluster(app: &Application) -> BTreeMap<String, i32> {
    let cells = app.status.iter().flat_map(|status| &status.cells);
    cells.filter(|cell| cell.desired > 0).map(|cell| (cell.cluster.clone(), cell.desired)).collect()
}

/// Returns the median time until a single edit is in all members outside the silent one.
async fn median_edit(fleet: &Fleet, namespace: &str, first: i32) -> anyhow::Result<Duration> {
    let history = History::follow(fleet, &OTHERS, DEPLOYMENTS, namespace).await?;
    let apps: Api<Application> = Api::namespaced(fleet.client("hub").await?, namespace);
    let mut took = Vec::new();
    for step in 1..=EDITS {
        let replicas = first + step * OTHERS.len() as i32;
        let begun = Instant::now();
        let change = Patch::Merge(json!({"spec": {"replicas": replicas}}));
        apps.patch("others", &PatchParams::default(), &change).await?;
        let seen = eventually("all members are told", SOON, async || {
            let now = history.now();
            let others = || now.values().filter(|version| version.name == "others");
            let sum: i64 = others().map(|version| version.replicas).sum();
            let last = history.versions().into_iter().rfind(|version| version.name == "others" && version.is_order);
            ensure!(sum == i64::from(replicas), "{sum} instead of {replicas}");
            Ok(last.map(|version| version.at))
        })
        .await?;
        took.push(seen.duration_since(begun));
        fleet.ready(namespace, "others").await?;
    }
    took.sort();
    Ok(took[took.len() / 2])
}

async fn a_silence(fleet: &mut Fleet, silence: Silence, space: &str) -> anyhow::Result<()> {
    namespace(fleet, space)?;
    let mut holds = web(space, "holds", 8);
    holds["spec"]["placement"] = json!({});
    let mut others = web(space, "others", 3);
    others["spec"]["placement"] = json!({"cells": {"matchExpressions": [
        {"key": "fleet.meridian.io/cluster", "operator": "NotIn", "values": [VICTIM]}]}});
    for manifest in [&holds, &others, &reschedules(space, "moves", 8)] {
        fleet.apply("hub", manifest)?;
    }
    for name in ["holds", "others", "moves"] {
        fleet.ready(space, name).await?;
    }
    let undisturbed = median_edit(fleet, space, 3).await?;
    let before = by_cluster(&fleet.ready(space, "holds").await?);
    let deletes_before = deletes(fleet, space);

    silence.begin(fleet, VICTIM)?;
    let (begun, begun_at) = (Instant::now(), Timestamp::now());
    let (reason, message) = cluster_until(fleet, VICTIM, "Unknown").await?;
    let noticed = begun.elapsed();
    ensure!(noticed <= NOTICED, "{silence:?} is noticed after {noticed:?} only");
    ensure!(silence.reasons().contains(&reason.as_str()), "{silence:?} is told as {reason}: {message}");
    for other in OTHERS {
        let (ready, reason, message, _) = cluster_ready(fleet, other)?;
        ensure!(ready == "True", "{other} suffers from it: {ready}: {reason}: {message}");
    }
    let disturbed = median_edit(fleet, space, 3 + EDITS * OTHERS.len() as i32).await?;
    ensure!(
        disturbed <= undisturbed.mul_f64(1.5) + NOISE,
        "the others are slowed down: {disturbed:?} instead of {undisturbed:?}"
    );

    // Mode Hold: no replica moves, and status shows stale replicas apart, with their age.
    let held = fleet
        .app_until(space, "holds", "tells what is stale", |app| {
            app.status.as_ref().is_some_and(|status| status.stale_ready == before[VICTIM])
        })
        .await?;
    let status = held.status.as_ref().context("a status")?;
    ensure!(status.ready == 8 - before[VICTIM], "stale numbers are counted: {status:?}");
    ensure!(by_cluster(&held) == before, "something moved: {:?}", by_cluster(&held));
    let (ready, message) = condition(&held, "Ready").context("a condition")?;
    ensure!(ready == "Unknown" && message.contains(VICTIM), "{ready}: {message}");
    // Open watches of a throttling member continue, so one sign of life may follow; `asOf` is the older of both
    // signals.
    let (.., as_of) = cluster_ready(fleet, VICTIM)?;
    ensure!(
        as_of.parse::<Timestamp>()? <= begun_at + UNDER_WAY,
        "the facts are said to be of {as_of}, and nobody could know them since {begun_at}"
    );

    // Mode Reschedule: lost replicas appear elsewhere and count once, and no object is deleted in the silent member.
    let moved = fleet
        .app_until(space, "moves", "the lost replicas run elsewhere", |app| {
            let status = app.status.clone().unwrap_or_default();
            assert!(status.ready <= 8, "a copy is counted twice: {status:?}");
            let elsewhere: i32 =
                by_cluster(app).iter().filter(|(cluster, _)| *cluster != VICTIM).map(|(_, desired)| desired).sum();
            elsewhere == 8 && status.available == 8
        })
        .await?;
    let plan = desired_elsewhere(&moved);
    ensure!(deletes(fleet, space) == deletes_before, "something was deleted while a member is silent");

    let history = History::follow(fleet, &OTHERS, DEPLOYMENTS, space).await?;
    silence.end(fleet, VICTIM)?;
    cluster_until(fleet, VICTIM, "True").await?;
    fleet.ready(space, "holds").await?;
    let returned = fleet.ready(space, "moves").await?;
    eventually("the surplus is gone", SOON, async || {
        Ok(fleet.get(VICTIM, "deployment", space, "moves")?.is_none().then_some(()))
    })
    .await?;
    history.of("moves").available_at_least(8)?;
    ensure!(desired_elsewhere(&returned) == plan, "it moved back: {}", desired(&returned));
    let settled = fleet.ready(space, "moves").await?;
    ensure!(desired_elsewhere(&settled) == plan && !by_cluster(&settled).contains_key(VICTIM), "{}", desired(&settled));
    ensure!(by_cluster(&fleet.ready(space, "holds").await?) == before);
    leave(fleet, space, &["holds", "others", "moves"])
}

fn desired_elsewhere(app: &Application) -> BTreeMap<String, i32> {
    by_cluster(app).into_iter().filter(|(cluster, _)| cluster != VICTIM).collect()
}

/// Returns the number of objects of a namespace that Meridian has deleted in all members so far.
fn deletes(fleet: &Fleet, namespace: &str) -> usize {
    let writes = fleet.member_events();
    writes.iter().filter(|(_, event)| event.is_deletion() && event.namespace == namespace).count()
}

pub(crate) fn leave(fleet: &Fleet, namespace: &str, names: &[&str]) -> anyhow::Result<()> {
    names.iter().try_for_each(|name| {
        fleet.meridian(&["app", "delete", name, "-n", namespace, "--yes", "--timeout", "60s"]).map(drop)
    })
}

pub(crate) async fn a_frozen_member_is_noticed_and_slows_nobody(fleet: &mut Fleet) -> anyhow::Result<()> {
    a_silence(fleet, Silence::Frozen, "frozen").await
}

pub(crate) async fn a_black_holed_link_is_noticed_and_slows_nobody(fleet: &mut Fleet) -> anyhow::Result<()> {
    a_silence(fleet, Silence::BlackHole, "black-hole").await
}

pub(crate) async fn hanging_watches_are_noticed_and_slow_nobody(fleet: &mut Fleet) -> anyhow::Result<()> {
    a_silence(fleet, Silence::WatchesHeld, "watches").await
}

pub(crate) async fn a_minute_of_429_is_noticed_and_slows_nobody(fleet: &mut Fleet) -> anyhow::Result<()> {
    a_silence(fleet, Silence::Throttled, "throttled").await
}

pub(crate) async fn a_deletion_says_which_silent_cluster_keeps_it(fleet: &mut Fleet) -> anyhow::Result<()> {
    namespace(fleet, "deadline")?;
    let mut manifest = web("deadline", "web", 8);
    manifest["spec"]["placement"] = json!({});
    manifest["spec"]["deletion"] = json!({"deadline": "3s"});
    fleet.apply("hub", &manifest)?;
    fleet.ready("deadline", "web").await?;
    Silence::BlackHole.begin(fleet, VICTIM)?;
    cluster_until(fleet, VICTIM, "Unknown").await?;
    fleet.kubectl("hub", &["delete", "mapp", "web", "-n", "deadline", "--wait=false"])?;
    let apps: Api<Application> = Api::namespaced(fleet.client("hub").await?, "deadline");
    let message = eventually("the deletion is blocked by a silent cluster", SOON, async || {
        let app = apps.get("web").await?;
        let conditions = app.status.map(|status| status.conditions).unwrap_or_default();
        let blocked = conditions.into_iter().find(|one| one.type_ == "DeletionBlocked" && one.status == "True");
        Ok(blocked.filter(|blocked| blocked.reason == "ClusterSilent").map(|blocked| blocked.message))
    })
    .await?;
    ensure!(message.contains(VICTIM) && message.contains("cluster remove"), "{message}");
    Silence::BlackHole.end(fleet, VICTIM)?;
    eventually("the deletion is over", SOON, async || Ok(apps.get_opt("web").await?.is_none().then_some(()))).await?;
    ensure!(fleet.get(VICTIM, "deployment", "deadline", "web")?.is_none(), "it is deleted there too");
    Ok(())
}

/// The facts about a cluster that is gone are forgotten, and no deletion waits for the cluster.
pub(crate) async fn a_cluster_gone_for_good_is_forgotten_with_its_workloads(fleet: &mut Fleet) -> anyhow::Result<()> {
    namespace(fleet, "forget")?;
    // The member may still be silent from the scenario before.
    cluster_until(fleet, VICTIM, "True").await?;
    for name in ["stays", "goes"] {
        let mut manifest = web("forget", name, 8);
        manifest["spec"]["placement"] = json!({});
        fleet.apply("hub", &manifest)?;
        let placed = by_cluster(&fleet.ready("forget", name).await?);
        ensure!(placed.contains_key(VICTIM), "{placed:?}");
    }
    let early = fleet.meridian(&["cluster", "remove", VICTIM, "--gone", "--yes"]).err().context("it is there")?;
    ensure!(format!("{early:#}").contains("answers"), "a member that answers is not gone: {early:#}");
    Silence::BlackHole.begin(fleet, VICTIM)?;
    cluster_until(fleet, VICTIM, "Unknown").await?;
    fleet.kubectl("hub", &["delete", "mapp", "goes", "-n", "forget", "--wait=false"])?;
    let deletes_before = deletes(fleet, "forget");
    let message = fleet
        .meridian(&["cluster", "remove", VICTIM, "--yes", "--timeout", "5s"])
        .err()
        .context("a removal that waits for a silent member")?;
    ensure!(format!("{message:#}").contains("--gone"), "{message:#}");
    ensure!(fleet.get("hub", "mcl", "", VICTIM)?.is_some(), "it was not said that it is gone");
    fleet.meridian(&["cluster", "remove", VICTIM, "--gone", "--yes", "--timeout", "60s"])?;
    ensure!(fleet.get("hub", "mcl", "", VICTIM)?.is_none());
    eventually("the deletion is over", SOON, async || {
        Ok(fleet.get("hub", "mapp", "forget", "goes")?.is_none().then_some(()))
    })
    .await?;
    let left = by_cluster(&fleet.ready("forget", "stays").await?);
    ensure!(!left.contains_key(VICTIM) && left.values().sum::<i32>() == 8, "{left:?}");
    let rows = fleet.bed.postgres.query(&format!("select count(*) from placement where cluster = '{VICTIM}'"))?;
    ensure!(rows == "0", "{rows} rows are left");
    let others = fleet.member_events();
    let hit =
        others.iter().filter(|(member, event)| member == VICTIM && event.is_deletion() && event.namespace == "forget");
    ensure!(hit.count() == 0 && deletes(fleet, "forget") > deletes_before, "only the others' copies are deleted");
    leave(fleet, "forget", &["stays"])
}
