//! Cordons, uncordons and drains clusters.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use crds::Application;
use futures::StreamExt;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use serde_json::json;
use vocabulary::ClusterName;

use super::look::{outcome_of, state};
use super::residents::{Report, apps, movable_in, residents, stay_in};
use crate::args::{DrainArgs, UnchangedFlag};
use crate::failure::Failure;
use crate::hub::{Hub, refusal, watch_until};
use crate::output::Format;
use crate::progress::Progress;

/// Timeout for the deletion of the objects that leave together with the last replicas.
const AFTERWARDS: Duration = Duration::from_secs(10);

/// Runs `meridian cluster cordon`.
pub(super) async fn cordon(
    name: &ClusterName,
    unchanged: UnchangedFlag,
    format: Format,
    hub: &Hub,
    progress: Progress,
) -> Result<(), Failure> {
    let before = hub.cluster(name.as_str()).await?;
    let cluster = hub.patch_cluster(name.as_str(), json!({ "spec": { "cordoned": true } })).await?;
    progress.done(format!("cluster {name} takes no new replicas; what runs there stays"));
    outcome_of(&cluster, format)?;
    if before.spec.cordoned { unchanged.end(format!("cluster {name} was cordoned already")) } else { Ok(()) }
}

/// Runs `meridian cluster uncordon`.
pub(super) async fn uncordon(
    name: &ClusterName,
    unchanged: UnchangedFlag,
    format: Format,
    hub: &Hub,
    progress: Progress,
) -> Result<(), Failure> {
    let before = hub.cluster(name.as_str()).await?;
    let cluster = hub.patch_cluster(name.as_str(), json!({ "spec": { "cordoned": false, "drain": false } })).await?;
    progress.done(format!("cluster {name} takes new replicas again; nothing moves back by itself"));
    progress.hint("`meridian rebalance APP -n NAMESPACE --dry-run` shows what a rebalance would move");
    outcome_of(&cluster, format)?;
    if before.spec.cordoned || before.spec.drain {
        return Ok(());
    }
    unchanged.end(format!("cluster {name} was open already"))
}

/// Runs `meridian cluster drain`.
pub(super) async fn drain(args: &DrainArgs, hub: &Hub, progress: Progress) -> Result<(), Failure> {
    let (name, format) = (&args.name, args.output.output);
    let cluster = hub.cluster(name.as_str()).await?;
    let mut report = Report {
        cluster: name.as_str(),
        dry_run: args.consent.dry_run,
        state: state(&cluster),
        effect: "each replica leaves when its successor is available elsewhere",
        applications: residents(name, args.consent.dry_run, format, hub).await?,
        apps: apps(&cluster),
    };
    if args.consent.dry_run {
        report.show(format)?;
        progress.done(format!("{}; {}", report.sum(), report.effect));
        progress.hint(format!(
            "nothing was changed; `meridian what-if -A --lose cluster={name}` shows who would find a place elsewhere"
        ));
        return Ok(());
    }
    // A repeated request moves nothing more in a cluster that already drains.
    if !cluster.spec.drain {
        progress.consent(
            args.consent.yes,
            &format!("Move the replicas of {} applications away from {name}?", report.apps),
        )?;
    }
    hub.patch_cluster(name.as_str(), json!({ "spec": { "drain": true } })).await?;
    progress.done(format!("cluster {name} is draining: {}", report.effect));
    report.state = "Draining";
    let drained_before = || args.unchanged.end(format!("cluster {name} was draining already"));
    let Some(limit) = args.wait.limit() else {
        report.show(format)?;
        return if cluster.spec.drain { drained_before() } else { Ok(()) };
    };
    let vacated = vacated(name, limit, hub, progress).await?.is_some();
    if vacated {
        report.apps = emptied(name, limit.min(AFTERWARDS), hub, progress).await?;
        report.state = "Drained";
        match stay_in(&hub.all_apps(None, None).await?, name) {
            None => progress.done(format!("no replicas are left in {name}")),
            Some(staying) => progress.done(format!(
                "everything that can move has left {name}; what stays, because it is never moved: {staying}"
            )),
        }
    }
    report.show(format)?;
    if vacated {
        return if cluster.spec.drain { drained_before() } else { Ok(()) };
    }
    Err(Failure::TimedOut(format!(
        "applications still have replicas in {name}; draining goes on. `meridian app list -A` shows which found no place"
    )))
}

/// Waits until the objects that belong to the replicas are deleted too.
///
/// Returns the number of Applications that still have objects in the cluster.
async fn emptied(name: &ClusterName, limit: Duration, hub: &Hub, progress: Progress) -> Result<i64, Failure> {
    let what = format!("cluster {name}");
    let emptied = watch_until(hub.clusters(), &what, name.as_str(), limit, |cluster| {
        let Some(cluster) = cluster else { return Err(Failure::Superseded(format!("{what} is gone"))) };
        Ok((apps(&cluster) == 0).then_some(()))
    });
    if emptied.await?.is_some() {
        return Ok(0);
    }
    let stays = apps(&hub.cluster(name.as_str()).await?);
    progress
        .warn(format!("{stays} applications keep objects in {name}: StatefulSets and what runs once are never moved"));
    Ok(stays)
}

/// Waits until no Application has movable replicas in the cluster.
///
/// First waits until the operator has taken in the drain.
async fn vacated(name: &ClusterName, limit: Duration, hub: &Hub, progress: Progress) -> Result<Option<()>, Failure> {
    let what = format!("cluster {name}");
    let taken_in = watch_until(hub.clusters(), &what, name.as_str(), limit, |cluster| {
        let Some(cluster) = cluster else { return Err(Failure::Superseded(format!("{what} is gone"))) };
        let observed = cluster.status.and_then(|status| status.observed_generation);
        Ok((observed >= cluster.metadata.generation).then_some(()))
    });
    if taken_in.await?.is_none() {
        return Ok(None);
    }
    let mut there: BTreeMap<String, i32> = BTreeMap::new();
    let mut shown = None;
    let watch = async {
        let mut apps = pin!(watcher(hub.every_app(), watcher::Config::default()).default_backoff());
        let mut listed = false;
        while let Some(event) = apps.next().await {
            match event {
                Ok(Event::Init) => there.clear(),
                Ok(Event::Apply(app) | Event::InitApply(app)) => {
                    there.insert(title(&app), movable_in(&app, name));
                }
                Ok(Event::Delete(app)) => {
                    there.remove(&title(&app));
                }
                Ok(Event::InitDone) => listed = true,
                Err(error) => refusal("applications", &error)?,
            }
            let left = there.values().filter(|replicas| **replicas > 0).count();
            if listed && left == 0 {
                return Ok(Some(()));
            }
            if listed && shown != Some(left) {
                shown = Some(left);
                progress.doing(format!("{left} applications have replicas there"));
            }
        }
        Ok(None)
    };
    tokio::time::timeout(limit, watch).await.unwrap_or(Ok(None))
}

fn title(app: &Application) -> String {
    let metadata = &app.metadata;
    format!("{}/{}", metadata.namespace.as_deref().unwrap_or_default(), metadata.name.as_deref().unwrap_or_default())
}
