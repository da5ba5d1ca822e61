//! Books the resources that replicas hold.

use std::collections::BTreeMap;

use crds::cluster::v1alpha1::Amounts;
use vocabulary::CellName;

use crate::topology::Topology;

/// Books the resources of `replicas` pods in a cell.
///
/// Replicas of a cell over several zones are divided evenly over the zones.
pub fn book(
    books: &mut BTreeMap<(String, String), Amounts>,
    topology: &Topology,
    cell: &CellName,
    pod: Amounts,
    replicas: i32,
) {
    let Some(facts) = topology.cells.get(cell) else { return };
    let zones = facts.zones.len().max(1) as i64;
    for (i, zone) in facts.zones.iter().enumerate() {
        let share = i64::from(replicas) / zones + i64::from((i as i64) < i64::from(replicas) % zones);
        if share == 0 {
            continue;
        }
        let sum = books.entry((facts.cluster.to_string(), zone.clone())).or_default();
        *sum = sum.plus_times(pod, share);
    }
}
