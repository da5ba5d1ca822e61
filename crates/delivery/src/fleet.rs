//! The fleet as deliverers see it: read once for all of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::stored_topology::{StoredCell, StoredCluster, topology_from_rows};
use domain::topology::Topology;
use runtime::shared_read::SharedRead;
use serde_json::Value;
use store::{Store, StoreError};
use tokio::time::Instant;

/// Where cells lie, and the authority epoch of each.
#[derive(Debug, Default)]
pub(crate) struct FleetView {
    pub(crate) topology: Topology,
    pub(crate) authorities: BTreeMap<String, u32>,
    /// UID each member is to have, by the name of its cluster.
    pub(crate) member_uids: BTreeMap<String, String>,
}

/// Reads the fleet for the deliverers of all clusters.
#[derive(Debug, Default)]
pub struct Fleet(SharedRead<FleetView>);

impl Fleet {
    /// The fleet as it was at some time after this call, or after one that waited for the same reading.
    pub(crate) async fn now(&self, store: &Store) -> Result<Arc<FleetView>, StoreError> {
        self.0.since(Instant::now(), async || read(store).await).await
    }
}

async fn read(store: &Store) -> Result<FleetView, StoreError> {
    let (clusters, rows) = tokio::try_join!(store.cluster_list(), store.cell_list())?;
    let member_uids = clusters.iter().map(|row| (row.taken.name.clone(), row.taken.member_uid.clone())).collect();
    let clusters = clusters.into_iter().map(|row| StoredCluster {
        name: row.taken.name,
        labels: row.taken.labels,
        spec: row.taken.spec,
        leaving: row.taken.removal.is_some(),
        health: None,
        kinds: Value::Null,
        capacity: Value::Null,
    });
    let authorities = rows.iter().map(|row| (row.name.clone(), row.authority)).collect();
    let cells = rows
        .into_iter()
        .filter_map(|row| Some(StoredCell { name: row.name, labels: row.labels, spec: row.spec? }))
        .collect();
    let (topology, _) = topology_from_rows(clusters.collect(), cells);
    Ok(FleetView { topology, authorities, member_uids })
}
