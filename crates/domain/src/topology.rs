//! The fleet as decisions see it: clusters and cells with their labels, computed from spec.

use std::collections::{BTreeMap, BTreeSet};

use crds::cell::v1alpha1::{CellSpec, Pair, UnitKind};
use crds::cluster::v1alpha1::{ClusterSpec, Profile, Taint, ZoneCapacity};
use serde::{Deserialize, Serialize};
use vocabulary::{CellName, ClusterName, Verdict, labels};

use crate::tenancy::Tenancy;

/// A member cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterFacts {
    /// Name of the cluster.
    pub name: ClusterName,
    /// Region of the cluster.
    pub region: String,
    /// Zones of the cluster, sorted and without duplicates.
    pub zones: Vec<String>,
    /// Taints that an Application must tolerate.
    pub taints: Vec<Taint>,
    /// Whether the cluster takes no new replicas. Also true while `drain` is set.
    pub cordoned: bool,
    /// Whether replicas move away.
    pub drain: bool,
    /// Whether new replicas may rely on the cluster: Pass is ready, Fail is not ready, Unknown is silent.
    pub health: Verdict,
    /// Whether the deploy profile is granted.
    pub deploys: bool,
    /// Kinds that may be delivered, as `group/version/Kind` or `version/Kind`.
    pub kinds: BTreeSet<String>,
    /// Capacity per zone. Empty when it was never observed.
    pub capacity: Vec<ZoneCapacity>,
    /// Namespaces and service accounts that Applications may use in the cluster.
    #[serde(default)]
    pub tenancy: Tenancy,
}

/// Whether the declaration of a cell lets it take replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CellState {
    /// The cell takes all replicas placed there.
    Open,
    /// The cell is implicit and its cluster has Cells or `cellPerZone` now.
    ///
    /// The cell keeps running replicas and takes no new ones.
    Superseded,
    /// The spec of the Cell does not fit its cluster.
    ///
    /// The cell keeps running replicas and takes no new ones.
    Misdeclared,
    /// A directive that this version cannot read covers the cell.
    ///
    /// The cell keeps running replicas and takes no new ones.
    Held,
    /// The Cell is being deleted.
    ///
    /// The cell takes no new replicas, and running ones move away.
    Leaving,
}

/// A cell: declared by a Cell object, or the implicit cell of a cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CellFacts {
    /// Name of the cell.
    pub name: CellName,
    /// Cluster that hosts the cell.
    pub cluster: ClusterName,
    /// Region of that cluster.
    pub region: String,
    /// Zone of the cell. Several zones where the cluster spans them and no Cell names one of them.
    pub zones: Vec<String>,
    /// Whether a Cell object declares the cell.
    pub declared: bool,
    /// Whether the declaration lets the cell take replicas.
    pub state: CellState,
    /// Labels of the object, with derived labels taking precedence.
    pub labels: BTreeMap<String, String>,
    /// Node labels to which pods of the cell are bound.
    pub node_selector: BTreeMap<String, String>,
    /// Name of the logical zone.
    pub unit: Option<String>,
    /// Kind of the logical zone.
    pub unit_kind: Option<UnitKind>,
    /// The half of a pair that the cell is.
    pub pair: Option<Pair>,
}

impl CellFacts {
    /// Returns the zone as shown to users. Several zones are joined by `+`.
    pub fn zone_text(&self) -> String {
        self.zones.join("+")
    }
}

/// A problem in a spec that excludes a cell or cluster, or makes one of its labels ineffective.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopologyProblem {
    /// `Cell` or `Cluster`.
    pub kind: &'static str,
    /// Name of the object.
    pub name: String,
    /// Reason as one word.
    pub reason: &'static str,
    /// Description of the problem and the remedy.
    pub message: String,
    /// Whether the cell or cluster takes no new replicas. Replicas placed there stay.
    pub excluded: bool,
}

/// A cluster as read from its object, before its facts are computed.
#[derive(Debug, Clone)]
pub struct ClusterInput<'a> {
    /// Name of the cluster.
    pub name: ClusterName,
    /// Labels of the object itself.
    pub labels: &'a BTreeMap<String, String>,
    /// Spec of the Cluster object.
    pub spec: &'a ClusterSpec,
    /// Health as observed.
    pub health: Verdict,
    /// Kinds that may be delivered.
    pub kinds: BTreeSet<String>,
    /// Capacity as observed.
    pub capacity: Vec<ZoneCapacity>,
}

/// A declared cell as read from its object.
#[derive(Debug, Clone)]
pub struct CellInput<'a> {
    /// Name of the cell.
    pub name: CellName,
    /// Labels of the object itself.
    pub labels: &'a BTreeMap<String, String>,
    /// Spec of the Cell object.
    pub spec: &'a CellSpec,
    /// Whether the Cell is being deleted.
    pub leaving: bool,
}

/// All clusters and cells of the fleet.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Topology {
    /// Clusters by name.
    pub clusters: BTreeMap<ClusterName, ClusterFacts>,
    /// Cells by name, implicit ones included.
    pub cells: BTreeMap<CellName, CellFacts>,
}

impl Topology {
    /// Computes the topology and lists the problems of its inputs.
    pub fn build(clusters: &[ClusterInput<'_>], cells: &[CellInput<'_>]) -> (Self, Vec<TopologyProblem>) {
        let mut topology = Self::default();
        let mut problems = Vec::new();
        for cluster in clusters {
            report_derived("Cluster", cluster.name.as_str(), cluster.labels, &mut problems);
            topology.clusters.insert(cluster.name.clone(), cluster_facts(cluster));
        }
        let mut declared: BTreeSet<&ClusterName> = BTreeSet::new();
        for cell in cells {
            report_derived("Cell", cell.name.as_str(), cell.labels, &mut problems);
            match declared_cell(cell, &topology.clusters) {
                Ok((facts, problem)) => {
                    problems.extend(problem);
                    // A Cell that is being deleted does not close the implicit cell, so that its replicas may move
                    // there.
                    if let Some((name, _)) =
                        topology.clusters.get_key_value(&facts.cluster).filter(|_| facts.state != CellState::Leaving)
                    {
                        declared.insert(name);
                    }
                    topology.cells.insert(facts.name.clone(), facts);
                }
                Err(problem) => problems.push(problem),
            }
        }
        let implicit: Vec<CellFacts> = clusters
            .iter()
            .map(|cluster| {
                // With `cellPerZone` the Cells are being created where none exist yet.
                let has_cells = cluster.spec.cell_per_zone || declared.contains(&cluster.name);
                let state = if has_cells { CellState::Superseded } else { CellState::Open };
                implicit_cell(cluster, &topology.clusters[&cluster.name], state)
            })
            .collect();
        topology.cells.extend(implicit.into_iter().map(|cell| (cell.name.clone(), cell)));
        (topology, problems)
    }
}

fn cluster_facts(cluster: &ClusterInput<'_>) -> ClusterFacts {
    let mut zones = cluster.spec.zones.clone();
    zones.sort();
    zones.dedup();
    ClusterFacts {
        name: cluster.name.clone(),
        region: cluster.spec.region.clone(),
        zones,
        taints: cluster.spec.taints.clone(),
        cordoned: cluster.spec.cordoned || cluster.spec.drain,
        drain: cluster.spec.drain,
        health: cluster.health,
        deploys: cluster.spec.profiles.contains(&Profile::Deploy),
        kinds: cluster.kinds.clone(),
        capacity: cluster.capacity.clone(),
        tenancy: Tenancy::of(cluster.spec),
    }
}

fn implicit_cell(cluster: &ClusterInput<'_>, facts: &ClusterFacts, state: CellState) -> CellFacts {
    let name = CellName::from(&cluster.name);
    let mut derived = vec![
        (labels::REGION, facts.region.clone()),
        (labels::CLUSTER, facts.name.to_string()),
        (labels::CELL, name.to_string()),
    ];
    if let [zone] = facts.zones.as_slice() {
        derived.push((labels::ZONE, zone.clone()));
    }
    CellFacts {
        labels: with_derived(cluster.labels, derived),
        name,
        cluster: facts.name.clone(),
        region: facts.region.clone(),
        zones: facts.zones.clone(),
        declared: false,
        state,
        node_selector: BTreeMap::new(),
        unit: None,
        unit_kind: None,
        pair: None,
    }
}

/// Returns a declared cell, with a problem where its spec does not fit its cluster.
///
/// # Errors
/// Returns the problem that keeps the cell out of the topology.
fn declared_cell(
    cell: &CellInput<'_>,
    clusters: &BTreeMap<ClusterName, ClusterFacts>,
) -> Result<(CellFacts, Option<TopologyProblem>), TopologyProblem> {
    let refuse = |reason, message| TopologyProblem {
        kind: "Cell",
        name: cell.name.to_string(),
        reason,
        message,
        excluded: true,
    };
    if clusters.contains_key(cell.name.as_str()) {
        return Err(refuse(
            "NameCollision",
            format!(
                "cell {} is named like a cluster, and a cluster's name is that of its implicit cell; choose another name",
                cell.name
            ),
        ));
    }
    let Some(cluster) = clusters.get(cell.spec.cluster.as_str()) else {
        return Err(refuse(
            "ClusterNotFound",
            format!(
                "spec.cluster {} is not joined; join it with `meridian cluster join {0} --kubeconfig FILE --region REGION --zone ZONE`",
                cell.spec.cluster
            ),
        ));
    };
    let (zones, problem) = match (&cell.spec.zone, cluster.zones.as_slice()) {
        (Some(zone), zones) if zones.contains(zone) => (vec![zone.clone()], None),
        (Some(zone), zones) => {
            let message = format!(
                "spec.zone {zone} is not a zone of cluster {}; its zones are {}",
                cluster.name,
                zones.join(", ")
            );
            (vec![zone.clone()], Some(refuse("ZoneNotInCluster", message)))
        }
        (None, [zone]) => (vec![zone.clone()], None),
        (None, zones) => {
            let message =
                format!("cluster {} spans zones {}; set spec.zone to one of them", cluster.name, zones.join(", "));
            (zones.to_vec(), Some(refuse("ZoneRequired", message)))
        }
    };
    let one_zone = match zones.as_slice() {
        [zone] => Some(zone.clone()),
        _ => None,
    };
    let mut node_selector = cell.spec.node_selector.clone();
    if let Some(zone) = one_zone.as_ref().filter(|_| cluster.zones.len() > 1) {
        node_selector.entry(labels::NODE_ZONE.to_owned()).or_insert_with(|| zone.clone());
    }
    let mut derived = vec![
        (labels::REGION, cluster.region.clone()),
        (labels::CLUSTER, cluster.name.to_string()),
        (labels::CELL, cell.name.to_string()),
    ];
    derived.extend(one_zone.map(|zone| (labels::ZONE, zone)));
    derived.extend(cell.spec.unit.clone().map(|unit| (labels::UNIT, unit)));
    derived.extend(cell.spec.unit_kind.map(|kind| (labels::UNIT_KIND, format!("{kind:?}"))));
    derived.extend(cell.spec.pair.map(|pair| (labels::PAIR, format!("{pair:?}"))));
    let state = match problem {
        _ if cell.leaving => CellState::Leaving,
        Some(_) => CellState::Misdeclared,
        None => CellState::Open,
    };
    let facts = CellFacts {
        name: cell.name.clone(),
        cluster: cluster.name.clone(),
        region: cluster.region.clone(),
        zones,
        declared: true,
        state,
        labels: with_derived(cell.labels, derived),
        node_selector,
        unit: cell.spec.unit.clone(),
        unit_kind: cell.spec.unit_kind,
        pair: cell.spec.pair,
    };
    Ok((facts, problem))
}

/// Returns the object's own labels without the derived keys, followed by the derived labels.
fn with_derived(own: &BTreeMap<String, String>, derived: Vec<(&'static str, String)>) -> BTreeMap<String, String> {
    own.iter()
        .filter(|(key, _)| !labels::DERIVED.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .chain(derived.into_iter().map(|(key, value)| (key.to_owned(), value)))
        .collect()
}

fn report_derived(kind: &'static str, name: &str, own: &BTreeMap<String, String>, problems: &mut Vec<TopologyProblem>) {
    for key in own.keys().filter(|key| labels::DERIVED.contains(&key.as_str())) {
        problems.push(TopologyProblem {
            kind,
            name: name.to_owned(),
            reason: "DerivedLabelIgnored",
            message: format!("label {key} is computed from spec; the one set by hand is ignored, remove it"),
            excluded: false,
        });
    }
}
