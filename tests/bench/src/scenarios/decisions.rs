//! Measures decisions without members.
//!
//! The figures are the rates of durable intent, of durable decisions, and of new decisions after the loss of a zone.
//! The real store and the real scheduler run on a real database whose commits wait for the disk. Clusters exist only as
//! rows, and no deliverer runs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use crds::cluster::v1alpha1::{Amounts, Shape, ZoneCapacity};
use domain::intent::Intent;
use domain::stored_revision::RevisionBody;
use futures::{TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use runtime::metrics::Metrics;
use schedule::{Schedule, ScheduleMetrics, ScheduleTimes};
use serde_json::json;
use store::seal::EnvelopeKey;
use store::{
    ApplicationTaken, ClusterStatusRow, ClusterTaken, Hint, Hints, Keeper, LeaseTimes, ParsedRevisions, Store,
};
use testbed::{Bed, eventually};
use tokio_util::sync::CancellationToken;
use vocabulary::{AppKey, Verdict, hash_json};

use super::Scale;
use crate::figures::Figures;
use crate::load;
use crate::processes::{self, Group};

const LONGEST: Duration = Duration::from_mins(10);
const ZONES: usize = 3;
const CLUSTERS_PER_ZONE: usize = 10;

pub(super) async fn run(scale: &Scale, figures: &mut Figures) -> anyhow::Result<()> {
    let bed = Bed::builder().durable().start().await?;
    let store = Store::open(&bed.postgres.url(), 16)?;
    store.migrate().await?;
    let key = Arc::new(EnvelopeKey::from_hex(&"5a".repeat(32))?);
    let keeper = Keeper::start(&bed.postgres.url(), "bench".to_owned(), LeaseTimes::default())?;
    let claim = keeper.want("leader").begin().await.context("leases are kept")?;
    for cluster in clusters() {
        store.cluster_take(&claim, &cluster).await?;
        store.cluster_status_set(&claim, &cluster.name, &status(&cluster)?).await?;
    }

    let begun = Instant::now();
    stream::iter((0..scale.decisions).map(anyhow::Ok))
        .try_for_each_concurrent(8, |number| {
            let (store, claim, key) = (&store, &claim, &key);
            async move {
                store.application_take(claim, &taken(number)?, key).await?;
                Ok(())
            }
        })
        .await?;
    let took = begun.elapsed();
    figures.add("decisions.taken_in_per_s", scale.decisions as f64 / took.as_secs_f64());

    let shutdown = CancellationToken::new();
    let (hints, exchange) = Hints::new(store.clone(), shutdown.clone());
    let metrics = ScheduleMetrics::new(&Metrics::default());
    let times = ScheduleTimes {
        look_again: Duration::from_hours(1),
        stale_after: SignedDuration::from_hours(1),
        settle: Duration::from_secs(1),
        delete_window: SignedDuration::from_mins(10),
    };
    let revisions = Arc::new(ParsedRevisions::new(store.clone(), key));
    let stage = Schedule::new(store.clone(), revisions, hints.clone(), claim.clone(), metrics.clone(), times);
    let groups = vec![
        Group { name: "postgres".to_owned(), pid: bed.postgres.primary.pid().context("it runs")? },
        Group { name: "this process".to_owned(), pid: std::process::id() },
    ];
    let cpu = processes::cpu(&groups);
    let begun = Instant::now();
    let exchange = tokio::spawn(exchange);
    let work = tokio::spawn(stage.run(shutdown.clone()));
    let wanted = scale.decisions as u64;
    eventually("all are decided", LONGEST, async || Ok((metrics.decided.get() >= wanted).then_some(()))).await?;
    let took = begun.elapsed();
    figures.add("decisions.per_s", scale.decisions as f64 / took.as_secs_f64());
    for (name, now) in processes::cpu(&groups) {
        let used = now - cpu.get(&name).copied().unwrap_or_default();
        figures.add(&format!("decisions.cpu_ms_per_decision.{name}"), used * 1000.0 / scale.decisions as f64);
    }
    let placed: usize = bed.postgres.query("select coalesce(sum(target), 0) from placement")?.parse()?;
    anyhow::ensure!(placed == scale.decisions * ZONES, "{placed} replicas were placed");
    let rows: f64 = bed.postgres.query("select count(*) from placement where cluster like 'z0-%'")?.parse()?;
    figures.add("decisions.placements_in_lost_zone", rows);

    // The zone has been silent for longer than its applications wait, so all its replicas are planned elsewhere.
    let before = metrics.decided.get();
    let begun = Instant::now();
    for cluster in clusters().into_iter().filter(|cluster| cluster.name.starts_with("z0-")) {
        let silent = ClusterStatusRow {
            health: Verdict::Unknown,
            unhealthy_since: Some(Timestamp::now().checked_sub(SignedDuration::from_mins(10))?),
            silent_since: Some(Timestamp::now().checked_sub(SignedDuration::from_mins(10))?),
            ..status(&cluster)?
        };
        store.cluster_status_set(&claim, &cluster.name, &silent).await?;
    }
    hints.send(Hint::Topology);
    let elsewhere = "select coalesce(sum(target), 0) from placement where cluster not like 'z0-%'";
    eventually("everything is planned elsewhere", LONGEST, async || {
        let decided = metrics.decided.get() - before >= wanted;
        let planned = decided && bed.postgres.query(elsewhere)?.parse::<usize>()? == scale.decisions * ZONES;
        Ok(planned.then_some(()))
    })
    .await?;
    figures.add("decisions.replan_s", begun.elapsed().as_secs_f64());
    figures.add("decisions.replanned_per_s", rows / begun.elapsed().as_secs_f64());
    shutdown.cancel();
    work.await??;
    exchange.await??;
    keeper.release().await;
    store.close().await;
    Ok(())
}

fn clusters() -> Vec<ClusterTaken> {
    let names = (0..ZONES).flat_map(|zone| (0..CLUSTERS_PER_ZONE).map(move |number| (zone, number)));
    names
        .map(|(zone, number)| {
            let name = format!("z{zone}-{number:02}");
            ClusterTaken {
                object_uid: format!("object-{name}"),
                member_uid: format!("member-{name}"),
                generation: 1,
                resource_version: None,
                labels: json!({}),
                spec: json!({
                    "region": "r1", "zones": [format!("z{zone}")], "profiles": ["observe", "deploy"],
                    "connection": {"server": "https://127.0.0.1:1"}, "uid": format!("member-{name}"),
                }),
                removal: None,
                gone: false,
                name,
            }
        })
        .collect()
}

/// Returns the status of a cluster with room for all replicas.
fn status(cluster: &ClusterTaken) -> anyhow::Result<ClusterStatusRow> {
    let node = Amounts { cpu_milli: 1_000_000, memory_mi: 4_000_000, pods: 10_000 };
    let all = Amounts { cpu_milli: 40_000_000, memory_mi: 160_000_000, pods: 400_000 };
    let zone = cluster.spec["zones"][0].as_str().context("a zone")?.to_owned();
    let capacity = [ZoneCapacity {
        name: zone,
        allocatable: all,
        shapes: vec![Shape { free: node, nodes: 40 }],
        ..ZoneCapacity::default()
    }];
    Ok(ClusterStatusRow {
        health: Verdict::Pass,
        reason: "Ready".to_owned(),
        message: String::new(),
        as_of: Some(Timestamp::now()),
        checked_at: Some(Timestamp::now()),
        kinds: json!(["apps/v1/Deployment"]),
        capacity: serde_json::to_value(capacity)?,
        ..ClusterStatusRow::unknown()
    })
}

fn taken(number: usize) -> anyhow::Result<ApplicationTaken> {
    let key = AppKey { namespace: "bench".to_owned(), name: load::name(number) };
    let spec = load::application(&key.namespace, &key.name, ZONES as i32)?.spec;
    let blueprint = domain::render::blueprint(&key, &spec).map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
    let intent = Intent {
        replicas: spec.replicas.unwrap_or_default(),
        suspended: spec.suspended,
        placement: spec.placement.clone().context("a placement")?,
        policy: None,
        drift: spec.drift,
        adopt: spec.adopt,
        pod_security: BTreeMap::default(),
        failover_after: Some(60),
        release: None,
        deletion_deadline: 600,
    };
    let body = RevisionBody { components: &spec.components, overrides: &spec.overrides };
    Ok(ApplicationTaken {
        hub_uid: "bench".to_owned(),
        object_uid: format!("object-{number}"),
        generation: 1,
        spec_hash: hash_json(&spec)?,
        intent: serde_json::to_value(&intent)?,
        revision: blueprint.revision,
        payload: serde_json::to_vec(&body)?,
        secret: false,
        divided_kind: Some("apps/v1/Deployment".to_owned()),
        rebalance_asked: None,
        delete_confirmed: None,
        accepted: false,
        key,
    })
}
