//! Builds the topology from stored rows: JSON columns in, typed clusters and cells out.

use std::collections::{BTreeMap, BTreeSet};

use crds::{CellSpec, ClusterSpec};
use serde_json::Value;
use vocabulary::{CellName, ClusterName, Verdict};

use crate::topology::{CellInput, ClusterInput, Topology, TopologyProblem};

/// A cluster as stored.
#[derive(Debug, Clone)]
pub struct StoredCluster {
    /// Name of the cluster.
    pub name: String,
    /// Labels of the Cluster object.
    pub labels: Value,
    /// Spec of the Cluster object.
    pub spec: Value,
    /// Whether the cluster is being removed: running replicas move away, and no new ones come.
    pub leaving: bool,
    /// `Pass`, `Fail` or `Unknown`. `None` before the first contact.
    pub health: Option<Verdict>,
    /// Kinds that may be delivered.
    pub kinds: Value,
    /// Capacity per zone.
    pub capacity: Value,
}

/// A declared cell as stored.
#[derive(Debug, Clone)]
pub struct StoredCell {
    /// Name of the cell.
    pub name: String,
    /// Labels of the Cell object.
    pub labels: Value,
    /// Spec of the Cell object.
    pub spec: Value,
    /// Whether the Cell is being deleted: running replicas move away, and no new ones come.
    pub leaving: bool,
}

/// Builds the topology from rows.
///
/// An unreadable row is reported and left out. Such a cluster or cell takes no new replicas, and placed replicas stay.
pub fn topology_from_rows(clusters: Vec<StoredCluster>, cells: Vec<StoredCell>) -> (Topology, Vec<TopologyProblem>) {
    let mut problems = Vec::new();
    let mut read_clusters: Vec<(ClusterName, BTreeMap<String, String>, ClusterSpec, StoredCluster)> = Vec::new();
    for row in clusters {
        match (row.name.parse::<ClusterName>(), labels(&row.labels), serde_json::from_value(row.spec.clone())) {
            (Ok(name), labels, Ok(spec)) => read_clusters.push((name, labels, spec, row)),
            (Err(error), _, _) => problems.push(unreadable("Cluster", &row.name, &error)),
            (_, _, Err(error)) => problems.push(unreadable("Cluster", &row.name, &error)),
        }
    }
    let mut read_cells: Vec<(CellName, BTreeMap<String, String>, CellSpec, bool)> = Vec::new();
    for row in cells {
        match (row.name.parse::<CellName>(), serde_json::from_value(row.spec)) {
            (Ok(name), Ok(spec)) => read_cells.push((name, labels(&row.labels), spec, row.leaving)),
            (Err(error), _) => problems.push(unreadable("Cell", &row.name, &error)),
            (_, Err(error)) => problems.push(unreadable("Cell", &row.name, &error)),
        }
    }
    for (_, _, spec, row) in &mut read_clusters {
        spec.drain |= row.leaving;
    }
    let clusters: Vec<ClusterInput<'_>> = read_clusters
        .iter()
        .map(|(name, labels, spec, row)| ClusterInput {
            name: name.clone(),
            labels,
            spec,
            health: row.health.unwrap_or(Verdict::Unknown),
            kinds: serde_json::from_value::<BTreeSet<String>>(row.kinds.clone()).unwrap_or_default(),
            capacity: serde_json::from_value(row.capacity.clone()).unwrap_or_default(),
        })
        .collect();
    let cells: Vec<CellInput<'_>> = read_cells
        .iter()
        .map(|(name, labels, spec, leaving)| CellInput { name: name.clone(), labels, spec, leaving: *leaving })
        .collect();
    let (topology, more) = Topology::build(&clusters, &cells);
    problems.extend(more);
    (topology, problems)
}

fn labels(value: &Value) -> BTreeMap<String, String> {
    let pairs = value.as_object().into_iter().flatten();
    pairs.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

fn unreadable(kind: &'static str, name: &str, error: &dyn std::fmt::Display) -> TopologyProblem {
    TopologyProblem {
        kind,
        name: name.to_owned(),
        reason: "Unreadable",
        message: format!("its stored spec cannot be read: {error}; apply the object again with this version's CRDs"),
        excluded: true,
    }
}
