//! The fleet as decisions see it: clusters and cells with their labels, computed from spec.

use std::collections::{BTreeMap, BTreeSet};

use crds::cell::v1alpha1::{CellSpec, Pair, UnitKind};
use crds::cluster::v1alpha1::{ClusterSpec, Profile, Taint, ZoneCapacity};
use serde::{Deserialize, Serialize};
use vocabulary::{CellName, ClusterName, Verdict, labels};

use crate::tenancy::Tenancy;

/// One member cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterFacts {
    /// Name.
    pub name: ClusterName,
    /// Region.
    pub region: String,
    /// Zones, sorted.
    pub zones: Vec<String>,
    /// Taints.
    pub taints: Vec<Taint>,
    /// No new replicas.
    pub cordoned: bool,
    /// Replicas move away.
    pub drain: bool,
    /// Whether new replicas may count on it: Pass ready, Fail known bad, Unknown silent.
    pub health: Verdict,
    /// The deploy profile is granted.
    pub deploys: bool,
    /// Kinds that may be delivered, as `group/version/Kind` or `version/Kind`.
    pub kinds: BTreeSet<String>,
    /// Capacity per zone; empty when it was never observed.
    pub capacity: Vec<ZoneCapacity>,
    /// Namespaces and service accounts that Applications may use there.
    #[serde(default)]
    pub tenancy: Tenancy,
}

/// What a cell takes, as far as it is declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CellState {
    /// Whatever is placed there.
    Open,
    /// Nothing more, and keeps what runs in it: an implicit cell whose cluster declares cells now.
    Superseded,
    /// Nothing more, and keeps what runs in it: its spec does not fit its cluster.
    Misdeclared,
    /// Nothing more, and keeps what runs in it: a directive that this version cannot read covers it.
    Held,
    /// Nothing more, and what runs in it moves away: its Cell is being deleted.
    Leaving,
}

/// One cell: declared, or the implicit one of a cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CellFacts {
    /// Name.
    pub name: CellName,
    /// Cluster that hosts it.
    pub cluster: ClusterName,
    /// Region of that cluster.
    pub region: String,
    /// The zone; several for an implicit cell whose cluster spans them.
    pub zones: Vec<String>,
    /// Whether a Cell object declares it.
    pub declared: bool,
    /// What its declaration lets it take.
    pub state: CellState,
    /// Derived labels over those a person set.
    pub labels: BTreeMap<String, String>,
    /// Node labels its pods are bound to.
    pub node_selector: BTreeMap<String, String>,
    /// Logical zone.
    pub unit: Option<String>,
    /// Kind of the logical zone.
    pub unit_kind: Option<UnitKind>,
    /// Half of a pair.
    pub pair: Option<Pair>,
}

impl CellFacts {
    /// The zone as shown: several are joined by `+`.
    pub fn zone_text(&self) -> String {
        self.zones.join("+")
    }
}

/// Something in the specs that keeps a cell out of the topology, or a label from counting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopologyProblem {
    /// `Cell` or `Cluster`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// One word.
    pub reason: &'static str,
    /// What is wrong and what to do.
    pub message: String,
    /// It takes nothing more. What is placed there stays.
    pub excluded: bool,
}

/// A cluster as read from its object, before its facts are computed.
#[derive(Debug, Clone)]
pub struct ClusterInput<'a> {
    /// Name.
    pub name: ClusterName,
    /// The object's own labels.
    pub labels: &'a BTreeMap<String, String>,
    /// Spec.
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
    /// Name.
    pub name: CellName,
    /// The object's own labels.
    pub labels: &'a BTreeMap<String, String>,
    /// Spec.
    pub spec: &'a CellSpec,
    /// It is being deleted.
    pub leaving: bool,
}

/// All clusters and cells.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Topology {
    /// By name.
    pub clusters: BTreeMap<ClusterName, ClusterFacts>,
    /// By name.
    pub cells: BTreeMap<CellName, CellFacts>,
}

impl Topology {
    /// Computes the topology and what is wrong with its inputs.
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
                    // What runs in one that leaves may go to the implicit one.
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
                // Its Cells are being made where there are none yet.
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

/// A declared cell, and what is wrong with it although it is one; or why it is none.
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

/// Own labels without the derived keys, then the derived ones.
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
