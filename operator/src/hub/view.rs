//! Cache of Meridian's objects on the hub, shared by intake and the status stage.

use crds::{Application, Cell, Cluster, PlacementPolicy};
use k8s_openapi::api::core::v1::Secret;
use runtime::queue::Queue;
use vocabulary::AppKey;

use super::objects::Objects;

/// Meridian's objects on the hub, and the queues of changed keys.
#[derive(Debug, Clone, Default)]
pub(crate) struct HubView {
    pub(crate) applications: Objects<Application>,
    pub(crate) policies: Objects<PlacementPolicy>,
    pub(crate) clusters: Objects<Cluster>,
    pub(crate) cells: Objects<Cell>,
    pub(crate) secrets: Objects<Secret>,
    pub(crate) changed_applications: Queue<AppKey>,
    pub(crate) changed_policies: Queue<AppKey>,
    pub(crate) changed_clusters: Queue<AppKey>,
    pub(crate) changed_cells: Queue<AppKey>,
    pub(crate) changed_secrets: Queue<AppKey>,
}
