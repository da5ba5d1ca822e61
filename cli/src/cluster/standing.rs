//! Standing orders about a cluster: cordon, uncordon, drain.

use std::time::Duration;

use serde_json::json;
use vocabulary::ClusterName;

use crate::failure::Failure;
use crate::hub::{Hub, watch_until};
use crate::progress::Progress;

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
    let mut left = None;
    let empty = watch_until(hub.clusters(), &format!("cluster {name}"), name.as_str(), limit, |cluster| {
        let Some(cluster) = cluster else {
            return Err(Failure::NotFound(format!("cluster {name} is gone")));
        };
        let generation = cluster.metadata.generation;
        let Some(status) = cluster.status.filter(|status| status.observed_generation >= generation) else {
            return Ok(None);
        };
        if status.apps == 0 {
            return Ok(Some(()));
        }
        if left != Some(status.apps) {
            left = Some(status.apps);
            progress.doing(format!("{} applications have objects there", status.apps));
        }
        Ok(None)
    })
    .await?;
    match empty {
        Some(()) => {
            progress.done(format!("nothing of Meridian runs in {name} any more"));
            Ok(())
        }
        None => Err(Failure::TimedOut(format!(
            "{} applications still have objects in {name}; draining goes on. `meridian app list -A` shows which found no place",
            left.unwrap_or_default()
        ))),
    }
}
