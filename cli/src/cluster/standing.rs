//! Standing orders about a cluster: cordon, uncordon, drain.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use crds::{Application, Cluster};
use futures::StreamExt;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use serde_json::json;
use vocabulary::ClusterName;

use crate::failure::Failure;
use crate::hub::{Hub, refusal, watch_until};
use crate::progress::Progress;

/// What goes along with the last replicas is gone by then.
const AFTERWARDS: Duration = Duration::from_secs(10);

/// `meridian cluster cordon`
pub(super) async fn cordon(name: &ClusterName, hub: &Hub, progress: Progress) -> Result<(), Failure> {
    hub.cluster(name.as_str()).await?;
    hub.patch_cluster(name.as_str(), json!({ "spec": { "cordoned": true } })).await?;
    progress.done(format!("cluster {name} takes no new replicas; what runs there stays"));
    Ok(())
}

/// `meridian cluster uncordon`
pub(super) async fn uncordon(name: &ClusterName, hub: &Hub, progress: Progress) -> Result<(), Failure> {
    hub.cluster(name.as_str()).await?;
    hub.patch_cluster(name.as_str(), json!({ "spec": { "cordoned": false, "drain": false } })).await?;
    progress.done(format!("cluster {name} takes new replicas again; nothing moves back by itself"));
    progress.hint("`meridian rebalance APP --dry-run` shows what a rebalance would move");
    Ok(())
}

/// `meridian cluster drain`
pub(super) async fn drain(
    name: &ClusterName,
    wait: Option<Duration>,
    hub: &Hub,
    progress: Progress,
) -> Result<(), Failure> {
    hub.cluster(name.as_str()).await?;
    hub.patch_cluster(name.as_str(), json!({ "spec": { "drain": true } })).await?;
    progress.done(format!("cluster {name} is draining: each replica leaves when its successor is available elsewhere"));
    let Some(limit) = wait else { return Ok(()) };
    match vacated(name, limit, hub, progress).await? {
        Some(()) => {
            let apps = |cluster: &Cluster| cluster.status.as_ref().map(|status| status.apps).unwrap_or_default();
            let what = format!("cluster {name}");
            // What went along with the replicas is deleted after them.
            let emptied = watch_until(hub.clusters(), &what, name.as_str(), limit.min(AFTERWARDS), |cluster| {
                let Some(cluster) = cluster else { return Err(Failure::NotFound(format!("{what} is gone"))) };
                Ok((apps(&cluster) == 0).then_some(()))
            });
            if emptied.await?.is_none() {
                let stays = apps(&hub.cluster(name.as_str()).await?);
                progress.warn(format!(
                    "{stays} applications keep objects in {name}: StatefulSets and what runs once are never moved"
                ));
            }
            progress.done(format!("no replicas are left in {name}"));
            Ok(())
        }
        None => Err(Failure::TimedOut(format!(
            "applications still have replicas in {name}; draining goes on. `meridian app list -A` shows which found no place"
        ))),
    }
}

/// Waits until no Application shows replicas in the cluster, and until that was decided after the drain.
async fn vacated(name: &ClusterName, limit: Duration, hub: &Hub, progress: Progress) -> Result<Option<()>, Failure> {
    let what = format!("cluster {name}");
    let taken_in = watch_until(hub.clusters(), &what, name.as_str(), limit, |cluster| {
        let Some(cluster) = cluster else { return Err(Failure::NotFound(format!("{what} is gone"))) };
        let observed = cluster.status.and_then(|status| status.observed_generation);
        Ok((observed >= cluster.metadata.generation).then_some(()))
    });
    if taken_in.await?.is_none() {
        return Ok(None);
    }
    let mut there: BTreeMap<String, i32> = BTreeMap::new();
    let mut told = None;
    let watch = async {
        let mut apps = pin!(watcher(hub.every_app(), watcher::Config::default()).default_backoff());
        let mut listed = false;
        while let Some(event) = apps.next().await {
            match event {
                Ok(Event::Init) => there.clear(),
                Ok(Event::Apply(app) | Event::InitApply(app)) => {
                    there.insert(title(&app), replicas_in(&app, name));
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
            if listed && told != Some(left) {
                told = Some(left);
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

fn replicas_in(app: &Application, cluster: &ClusterName) -> i32 {
    let cells = app.status.iter().flat_map(|status| &status.cells);
    cells.filter(|cell| cell.cluster == cluster.as_str()).map(|cell| cell.placed).sum()
}
