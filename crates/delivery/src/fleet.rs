//! Cache of the fleet, read once for the deliverers of all clusters.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::stored_topology::{StoredCell, StoredCluster, topology_from_rows};
use domain::topology::Topology;
use runtime::shared_read::SharedRead;
use serde_json::Value;
use store::{Store, StoreError};
use tokio::time::Instant;

/// Topology, and the authority epoch of each cell.
#[derive(Debug, Default)]
pub(crate) struct FleetView {
    pub(crate) topology: Topology,
    pub(crate) authorities: BTreeMap<String, u32>,
    /// Expected UID of each member, by the name of its cluster.
    pub(crate) member_uids: BTreeMap<String, String>,
}

impl FleetView {
    /// Whether cells and authorities are equal, so that rendered objects and fences do not change.
    pub(crate) fn says_the_same(&self, other: &Self) -> bool {
        self.topology.cells == other.topology.cells && self.authorities == other.authorities
    }
}

/// Reads the fleet for the deliverers of all clusters.
#[derive(Debug, Default)]
pub struct Fleet(SharedRead<FleetView>);

impl Fleet {
    /// Returns the fleet as read at or after `moment`.
    pub(crate) async fn since(&self, store: &Store, moment: Instant) -> Result<Arc<FleetView>, StoreError> {
        self.0.since(moment, async || read(store).await).await
    }
}

async fn read(store: &Store) -> Result<FleetView, StoreError> {
    let (clusters, rows) = tokio::try_join!(store.cluster_taken_list(), store.cell_list())?;
    let member_uids = clusters.iter().map(|row| (row.name.clone(), row.member_uid.clone())).collect();
    let clusters = clusters.into_iter().map(|row| StoredCluster {
        name: row.name,
        labels: row.labels,
        spec: row.spec,
        leaving: row.removal.is_some(),
        health: None,
        kinds: Value::Null,
        capacity: Value::Null,
    });
    let authorities = rows.iter().map(|row| (row.name.clone(), row.authority)).collect();
    let cells = rows
        .into_iter()
        .filter_map(|row| {
            Some(StoredCell { name: row.name, labels: row.labels, spec: row.spec?, leaving: row.leaving })
        })
        .collect();
    let (topology, _) = topology_from_rows(clusters.collect(), cells);
    Ok(FleetView { topology, authorities, member_uids })
}
