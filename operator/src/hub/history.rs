//! Detects that the hub's store was restored from an older state.

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::ListParams;
use kube::{Api, Client};
use tokio_util::sync::CancellationToken;

/// Minimum interval between two reads of the hub's revision.
const LOOK: Duration = Duration::from_secs(3);

/// The hub's store was restored from an older state.
#[derive(Debug, thiserror::Error)]
#[error(
    "the hub's history went back from revision {reached} to {revision}: its store was restored from an older state"
)]
pub(crate) struct WentBack {
    reached: u64,
    revision: u64,
}

/// Returns [`WentBack`] when the hub's revision is lower than one read before, and `Ok` at shutdown.
///
/// A watch from a revision above the current one receives no events until the hub reaches that revision. So everything
/// must be listed again. While the hub does not answer, the check allows no conclusion about its history.
pub(crate) async fn goes_on(hub: Client, shutdown: CancellationToken) -> Result<(), WentBack> {
    let namespaces: Api<Namespace> = Api::all(hub);
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut reached = 0;
    loop {
        tokio::select! { () = shutdown.cancelled() => return Ok(()), _ = looks.tick() => {} }
        // A list without a `resourceVersion` is as new as the store.
        let Ok(list) = namespaces.list_metadata(&ListParams::default().limit(1)).await else { continue };
        let Some(revision) = list.metadata.resource_version.and_then(|text| text.parse::<u64>().ok()) else { continue };
        if revision < reached {
            return Err(WentBack { reached, revision });
        }
        reached = revision;
    }
}
