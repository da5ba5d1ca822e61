//! Rows of clusters and cells, and edits of them.

use jiff::Timestamp;
use serde_json::{Value, json};
use store::{CellRow, ClusterRow, ClusterStatusRow, ClusterTaken, Removal};
use vocabulary::Verdict;

/// Name of a cluster, by its number.
pub(super) fn name(cluster: usize) -> String {
    ["east", "north", "south", "west"][cluster % 4].to_owned()
}

/// Name of a cell that may be declared in a cluster.
pub(super) fn cell_name(cluster: usize, cell: usize) -> String {
    format!("{}-{}", name(cluster), ["x", "y"][cell % 2])
}

fn zones(cluster: usize) -> Vec<String> {
    // The last cluster spans two zones.
    let all = [vec!["e1"], vec!["n1"], vec!["s1"], vec!["w1", "w2"]];
    all[cluster % 4].iter().map(|zone| (*zone).to_owned()).collect()
}

fn kinds() -> Value {
    json!([
        "apps/v1/Deployment",
        "apps/v1/ReplicaSet",
        "apps/v1/StatefulSet",
        "apps/v1/DaemonSet",
        "example.io/v1alpha1/Widget",
        "example.io/v1/Widget",
        "v1/ConfigMap",
        "v1/Service",
        "batch/v1/Job",
    ])
}

fn capacity(cluster: usize) -> Value {
    let amounts = json!({"cpuMilli": 100_000, "memoryMi": 100_000, "pods": 1000});
    let none = json!({"cpuMilli": 0, "memoryMi": 0, "pods": 0});
    let zone = |name: String| {
        json!({"name": name, "allocatable": amounts, "requested": none, "foreign": none, "reserved": none,
            "shapes": [{"free": amounts, "nodes": 1}]})
    };
    Value::Array(zones(cluster).into_iter().map(zone).collect())
}

/// Row of a healthy cluster that just joined.
pub(super) fn joined(cluster: usize, now: Timestamp) -> ClusterRow {
    let name = name(cluster);
    let spec = json!({
        "region": "r", "zones": zones(cluster), "uid": format!("member-{name}"),
        "connection": {"server": "https://127.0.0.1:1"},
    });
    ClusterRow {
        taken: ClusterTaken {
            object_uid: format!("object-{name}"),
            member_uid: format!("member-{name}"),
            name,
            generation: 1,
            resource_version: None,
            labels: json!({}),
            spec,
            removal: None,
            gone: false,
        },
        status: Some(well(cluster, now)),
    }
}

pub(super) fn well(cluster: usize, now: Timestamp) -> ClusterStatusRow {
    ClusterStatusRow {
        health: Verdict::Pass,
        reason: "Ready".to_owned(),
        as_of: Some(now),
        checked_at: Some(now),
        kinds: kinds(),
        capacity: capacity(cluster),
        ..ClusterStatusRow::unknown()
    }
}

/// Status of a cluster that does not answer.
pub(super) fn silent(before: &ClusterStatusRow, now: Timestamp) -> ClusterStatusRow {
    ClusterStatusRow {
        health: Verdict::Unknown,
        reason: "Unreachable".to_owned(),
        unhealthy_since: before.unhealthy_since.or(Some(now)),
        checked_at: Some(now),
        ..before.clone()
    }
}

pub(super) fn implicit_cell(cluster: usize) -> CellRow {
    CellRow {
        name: name(cluster),
        labels: json!({}),
        spec: None,
        object_uid: None,
        generation: None,
        resource_version: None,
        leaving: false,
        authority: 1,
    }
}

/// Row of a declared cell. `fits` is whether its zone is one of the cluster's.
pub(super) fn declared_cell(cluster: usize, cell: usize, fits: bool) -> CellRow {
    let zones = zones(cluster);
    let zone = if fits { zones[cell % zones.len()].clone() } else { "elsewhere".to_owned() };
    CellRow {
        name: cell_name(cluster, cell),
        labels: json!({}),
        spec: Some(json!({"cluster": name(cluster), "zone": zone})),
        object_uid: Some("cell".to_owned()),
        generation: Some(1),
        resource_version: None,
        leaving: false,
        authority: 1,
    }
}

pub(super) fn set(row: &mut ClusterRow, field: &str, value: bool) {
    row.taken.spec[field] = json!(value);
    row.taken.generation += 1;
}

pub(super) const fn removal(delete: bool) -> Removal {
    if delete { Removal::Delete } else { Removal::Orphan }
}
