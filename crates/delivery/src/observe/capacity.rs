//! Computes the capacity of a member from its nodes and pods.

use std::collections::{BTreeMap, HashMap};

use crds::cluster::v1alpha1::{Amounts, Shape, ZoneCapacity};
use domain::render::{pod_amounts, quantity};
use serde_json::Value;
use vocabulary::labels::NODE_ZONE;

use crate::status::bounded::PODS_MAX;

/// Maximum number of groups of alike nodes per zone.
const SHAPES: usize = 32;
/// Initial rounding step of free amounts: a tenth of a core, 64 MiB, one pod.
///
/// The step doubles until the groups are few enough.
const GRAIN: Amounts = Amounts { cpu_milli: 100, memory_mi: 64, pods: 1 };

#[derive(Debug, Clone, PartialEq, Eq)]
struct Node {
    zone: Option<String>,
    ready: bool,
    /// `None` when the node accepts no new pods.
    allocatable: Option<Amounts>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pod {
    node: String,
    requests: Amounts,
    ready: bool,
    /// Kind and name of the workload that the pod belongs to.
    workload: Option<(String, String)>,
}

/// Namespace, kind and name of a workload.
pub(crate) type Workload = (String, String, String);

/// Number of pods by zone.
pub(crate) type ZoneCounts = BTreeMap<String, i32>;

/// Nodes and bound pods of one member.
#[derive(Debug, Default)]
pub(crate) struct CapacityTracker {
    nodes: HashMap<String, Node>,
    pods: HashMap<(String, String), Pod>,
    nodes_synced: bool,
    pods_synced: bool,
}

impl CapacityTracker {
    pub(crate) fn reset_nodes(&mut self) {
        self.nodes.clear();
        self.nodes_synced = false;
    }

    pub(crate) fn reset_pods(&mut self) {
        self.pods.clear();
        self.pods_synced = false;
    }

    pub(crate) fn nodes_synced(&mut self) {
        self.nodes_synced = true;
    }

    pub(crate) fn pods_synced(&mut self) {
        self.pods_synced = true;
    }

    pub(crate) fn node(&mut self, object: &Value) {
        let Some(name) = object["metadata"]["name"].as_str() else { return };
        let ready = object["status"]["conditions"].as_array().is_some_and(|all| all.iter().any(is_ready_condition));
        let blocked = object["spec"]["unschedulable"] == true
            || object["spec"]["taints"].as_array().is_some_and(|taints| {
                taints.iter().any(|taint| taint["effect"] == "NoSchedule" || taint["effect"] == "NoExecute")
            });
        let allocatable = (ready && !blocked).then(|| amounts(&object["status"]["allocatable"]));
        let zone = object["metadata"]["labels"].get(NODE_ZONE).and_then(Value::as_str).map(str::to_owned);
        self.nodes.insert(name.to_owned(), Node { zone, ready, allocatable });
    }

    pub(crate) fn node_gone(&mut self, name: &str) {
        self.nodes.remove(name);
    }

    /// Number of ready nodes and of all nodes; `None` until the nodes were listed once.
    pub(crate) fn ready_nodes(&self) -> Option<(usize, usize)> {
        self.nodes_synced.then(|| (self.nodes.values().filter(|node| node.ready).count(), self.nodes.len()))
    }

    pub(crate) fn pod(&mut self, object: &Value) {
        let metadata = &object["metadata"];
        let (Some(namespace), Some(name)) = (metadata["namespace"].as_str(), metadata["name"].as_str()) else { return };
        let key = (namespace.to_owned(), name.to_owned());
        let over = matches!(object["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
        match object["spec"]["nodeName"].as_str() {
            Some(_) if self.pods.len() >= PODS_MAX && !self.pods.contains_key(&key) => {}
            Some(node) if !over => {
                let requests = pod_amounts(&object["spec"]);
                let pod =
                    Pod { node: node.to_owned(), requests, ready: is_ready(object), workload: workload_of(metadata) };
                self.pods.insert(key, pod);
            }
            _ => {
                self.pods.remove(&key);
            }
        }
    }

    pub(crate) fn pod_gone(&mut self, namespace: &str, name: &str) {
        self.pods.remove(&(namespace.to_owned(), name.to_owned()));
    }

    /// Whether nodes and pods were listed once.
    pub(crate) fn is_listed(&self) -> bool {
        self.nodes_synced && self.pods_synced
    }

    /// Counts the ready pods of workloads by zone.
    ///
    /// Pods on nodes outside the given zones are left out.
    pub(crate) fn ready_by_zone(&self, workloads: &BTreeMap<Workload, Vec<String>>) -> BTreeMap<Workload, ZoneCounts> {
        let none = |zones: &Vec<String>| zones.iter().map(|zone| (zone.clone(), 0)).collect::<ZoneCounts>();
        let mut counts: BTreeMap<Workload, ZoneCounts> =
            workloads.iter().map(|(workload, zones)| (workload.clone(), none(zones))).collect();
        for ((namespace, _), pod) in self.pods.iter().filter(|(_, pod)| pod.ready) {
            let Some((kind, name)) = &pod.workload else { continue };
            let Some(zone) = self.nodes.get(&pod.node).and_then(|node| node.zone.as_deref()) else { continue };
            let workload = (namespace.clone(), kind.clone(), name.clone());
            if let Some(count) = counts.get_mut(&workload).and_then(|zones| zones.get_mut(zone)) {
                *count += 1;
            }
        }
        counts
    }

    /// Computes the capacity of the given zones; `None` until nodes and pods were listed once.
    ///
    /// In a cluster with one zone, every node counts for that zone, also without a zone label. `ours` are the requests
    /// of the pods that Meridian placed, by the zones of their cell.
    pub(crate) fn capacity(
        &self,
        zones: &[String],
        ours: &BTreeMap<Vec<String>, Amounts>,
    ) -> Option<Vec<ZoneCapacity>> {
        if !self.is_listed() {
            return None;
        }
        let mut used: HashMap<&str, Amounts> = HashMap::new();
        for pod in self.pods.values() {
            add(used.entry(pod.node.as_str()).or_default(), pod.requests, 1);
        }
        let mut by_zone: BTreeMap<&str, (Amounts, Amounts, Vec<Amounts>)> =
            zones.iter().map(|zone| (zone.as_str(), Default::default())).collect();
        for (name, node) in &self.nodes {
            let only = if let [zone] = zones { Some(zone.as_str()) } else { None };
            let zone = if zones.len() == 1 { only } else { node.zone.as_deref() };
            let (Some(zone), Some(allocatable)) = (zone, node.allocatable) else { continue };
            let Some((offered, requested, free)) = by_zone.get_mut(zone) else { continue };
            let used = used.get(name.as_str()).copied().unwrap_or_default();
            add(offered, allocatable, 1);
            add(requested, used, 1);
            let mut left = allocatable;
            add(&mut left, used, -1);
            free.push(Amounts {
                cpu_milli: left.cpu_milli.max(0),
                memory_mi: left.memory_mi.max(0),
                pods: left.pods.max(0),
            });
        }
        let requested = by_zone.iter().map(|(zone, (_, requested, _))| (*zone, *requested)).collect();
        let foreign = foreign(requested, ours);
        Some(
            by_zone
                .into_iter()
                .map(|(zone, (allocatable, requested, free))| ZoneCapacity {
                    name: zone.to_owned(),
                    allocatable,
                    requested,
                    foreign: foreign.get(zone).copied().unwrap_or_default(),
                    reserved: Amounts::default(),
                    shapes: shapes(&free),
                })
                .collect(),
        )
    }
}

fn is_ready_condition(condition: &Value) -> bool {
    condition["type"] == "Ready" && condition["status"] == "True"
}

/// Whether a pod is ready and is not being deleted.
fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    pod["metadata"].get("deletionTimestamp").is_none()
        && conditions.is_some_and(|all| all.iter().any(is_ready_condition))
}

/// Kind and name of the workload that owns a pod.
///
/// The owner is the pod's controller, or the Deployment of a controlling `ReplicaSet`.
fn workload_of(metadata: &Value) -> Option<(String, String)> {
    let owner = metadata["ownerReferences"].as_array()?.iter().find(|owner| owner["controller"] == true)?;
    let (kind, name) = (owner["kind"].as_str()?, owner["name"].as_str()?);
    let deployment = metadata["labels"]["pod-template-hash"].as_str().and_then(|hash| {
        name.strip_suffix(hash)?.strip_suffix('-').filter(|_| kind == "ReplicaSet").map(str::to_owned)
    });
    Some(deployment.map_or_else(|| (kind.to_owned(), name.to_owned()), |name| ("Deployment".to_owned(), name)))
}

/// Subtracts the requests of our pods from the requests of each zone. Returns what is left.
///
/// Pods of a cell in one zone are subtracted there. Pods of a cell that spans zones are subtracted evenly, as their
/// reservations are. What exceeds the requests of one zone is subtracted in the others.
fn foreign<'a>(
    mut left: BTreeMap<&'a str, Amounts>,
    ours: &BTreeMap<Vec<String>, Amounts>,
) -> BTreeMap<&'a str, Amounts> {
    let (single, spanning): (Vec<_>, Vec<_>) = ours.iter().partition(|(zones, _)| zones.len() <= 1);
    for (zones, ours) in single.into_iter().chain(spanning) {
        let mut rest = *ours;
        // First in even parts, then wherever requests are left.
        for part in [i64::try_from(zones.len().max(1)).unwrap_or(i64::MAX), 1] {
            let share = |all: i64| all.div_euclid(part);
            let share =
                Amounts { cpu_milli: share(rest.cpu_milli), memory_mi: share(rest.memory_mi), pods: share(rest.pods) };
            for zone in zones {
                let Some(zone) = left.get_mut(zone.as_str()) else { continue };
                let taken = Amounts {
                    cpu_milli: share.cpu_milli.min(rest.cpu_milli).min(zone.cpu_milli),
                    memory_mi: share.memory_mi.min(rest.memory_mi).min(zone.memory_mi),
                    pods: share.pods.min(rest.pods).min(zone.pods),
                };
                add(zone, taken, -1);
                add(&mut rest, taken, -1);
            }
        }
    }
    left
}

pub(crate) fn add(sum: &mut Amounts, more: Amounts, times: i64) {
    *sum = sum.plus_times(more, times);
}

fn amounts(list: &Value) -> Amounts {
    let text = |name: &str| match &list[name] {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => "0".to_owned(),
    };
    Amounts {
        cpu_milli: quantity::floor_milli(&text("cpu")).unwrap_or(0).clamp(0, Amounts::CPU_MILLI_MAX),
        memory_mi: quantity::floor_mebi(&text("memory")).unwrap_or(0).clamp(0, Amounts::MEMORY_MI_MAX),
        pods: text("pods").parse().unwrap_or(0).clamp(0, i64::from(u16::MAX)),
    }
}

/// Groups nodes by free amounts rounded down.
///
/// The rounding step doubles until the groups are few enough.
fn shapes(free: &[Amounts]) -> Vec<Shape> {
    let mut grain = GRAIN;
    loop {
        let mut groups: BTreeMap<(i64, i64, i64), i32> = BTreeMap::new();
        for node in free {
            let down = |value: i64, grain: i64| value - value % grain;
            let key = (
                down(node.cpu_milli, grain.cpu_milli),
                down(node.memory_mi, grain.memory_mi),
                down(node.pods, grain.pods),
            );
            *groups.entry(key).or_default() += 1;
        }
        if groups.len() <= SHAPES {
            return groups
                .into_iter()
                .map(|((cpu_milli, memory_mi, pods), nodes)| Shape {
                    free: Amounts { cpu_milli, memory_mi, pods },
                    nodes,
                })
                .collect();
        }
        grain = Amounts { cpu_milli: grain.cpu_milli * 2, memory_mi: grain.memory_mi * 2, pods: grain.pods * 2 };
    }
}

#[cfg(test)]
mod tests;
