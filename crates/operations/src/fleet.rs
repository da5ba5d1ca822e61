//! The fleet as kinds of operations see it: which cells a place covers, and which applications run there.

use std::collections::{BTreeMap, BTreeSet};

use domain::placement::DirectiveTarget;
use domain::stored_topology::{StoredCell, StoredCluster, topology_from_rows};
use domain::topology::{CellFacts, Topology, TopologyProblem};
use store::{AppId, ResidentRow, Store, StoreError};
use vocabulary::AppKey;

/// Replicas of one application in a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resident {
    pub(crate) app: AppId,
    pub(crate) key: AppKey,
    /// Replicas by cell.
    pub(crate) cells: BTreeMap<String, i64>,
}

impl Resident {
    pub(crate) fn replicas(&self) -> i64 {
        self.cells.values().sum()
    }
}

/// Reads the topology, and the clusters and cells that cannot be part of it.
pub(crate) async fn topology(store: &Store) -> Result<(Topology, Vec<TopologyProblem>), StoreError> {
    let clusters = store.cluster_list().await?;
    let cells = store.cell_list().await?;
    let clusters = clusters
        .into_iter()
        .map(|row| StoredCluster {
            name: row.taken.name,
            labels: row.taken.labels,
            spec: row.taken.spec,
            leaving: row.taken.removal.is_some(),
            health: row.status.as_ref().map(|status| status.health),
            kinds: row.status.as_ref().map(|status| status.kinds.clone()).unwrap_or_default(),
            capacity: row.status.map(|status| status.capacity).unwrap_or_default(),
        })
        .collect();
    let cells = cells
        .into_iter()
        .filter_map(|row| {
            Some(StoredCell { name: row.name, labels: row.labels, spec: row.spec?, leaving: row.leaving })
        })
        .collect();
    Ok(topology_from_rows(clusters, cells))
}

/// Returns the cells that a place covers.
pub(crate) fn cells_of<'a>(topology: &'a Topology, place: &DirectiveTarget) -> Vec<&'a CellFacts> {
    topology.cells.values().filter(|cell| place.covers(cell)).collect()
}

/// Returns the applications with divided replicas in a place, ordered by name.
pub(crate) async fn residents(store: &Store, place: &DirectiveTarget) -> Result<Vec<Resident>, StoreError> {
    let covered = Covered::read(store, place).await?;
    let rows = store.resident_list(&covered.clusters).await?;
    Ok(by_application(rows.into_iter().filter(|row| covered.covers(row))))
}

/// Returns the divided replicas of one application in a place; `None` without any.
pub(crate) async fn resident(
    store: &Store,
    place: &DirectiveTarget,
    key: &AppKey,
) -> Result<Option<Resident>, StoreError> {
    let rows = store.resident_of(key).await?;
    if rows.is_empty() {
        return Ok(None);
    }
    let covered = Covered::read(store, place).await?;
    Ok(by_application(rows.into_iter().filter(|row| covered.covers(row))).into_iter().next())
}

/// Returns why it is not known what a place has: a cluster or cell that cannot be read may be in it.
pub(crate) async fn unreadable(store: &Store, place: &DirectiveTarget) -> Result<Option<String>, StoreError> {
    if matches!(place, DirectiveTarget::Cluster { .. }) {
        return Ok(None);
    }
    let (_, problems) = topology(store).await?;
    let problem = problems.into_iter().find(|problem| problem.excluded);
    Ok(problem.map(|problem| format!("{} {} may be there: {}", problem.kind, problem.name, problem.message)))
}

fn by_application(rows: impl Iterator<Item = ResidentRow>) -> Vec<Resident> {
    let mut found: BTreeMap<AppKey, Resident> = BTreeMap::new();
    for row in rows {
        let resident = found.entry(row.key.clone()).or_insert_with(|| Resident {
            app: row.app,
            key: row.key.clone(),
            cells: BTreeMap::new(),
        });
        *resident.cells.entry(row.cell).or_default() += row.replicas;
    }
    found.into_values().collect()
}

/// What a place covers, as far as replicas are concerned.
struct Covered {
    /// Clusters with a cell of the place.
    clusters: Vec<String>,
    /// Cells of the place; `None` where the place is a whole cluster.
    ///
    /// Replicas in a cell that the topology does not have are in their cluster nevertheless.
    cells: Option<BTreeSet<String>>,
}

impl Covered {
    async fn read(store: &Store, place: &DirectiveTarget) -> Result<Self, StoreError> {
        if let DirectiveTarget::Cluster { cluster } = place {
            return Ok(Self { clusters: vec![cluster.clone()], cells: None });
        }
        let (topology, _) = topology(store).await?;
        let covered = cells_of(&topology, place);
        let clusters: BTreeSet<String> = covered.iter().map(|cell| cell.cluster.to_string()).collect();
        let cells = covered.iter().map(|cell| cell.name.to_string()).collect();
        Ok(Self { clusters: clusters.into_iter().collect(), cells: Some(cells) })
    }

    fn covers(&self, row: &ResidentRow) -> bool {
        match &self.cells {
            None => self.clusters.contains(&row.cluster),
            Some(cells) => cells.contains(&row.cell),
        }
    }
}
