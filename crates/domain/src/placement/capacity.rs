//! How many replicas of an application fit in a cell.

use crds::cluster::v1alpha1::{Amounts, Shape, ZoneCapacity};

use super::request::Ledger;
use crate::topology::ClusterFacts;

/// Counted where nothing limits.
pub(crate) const PLENTY: i64 = 1_000_000;

/// Most replicas that fit into some zones of a cluster, those already bound there included.
///
/// Two estimates, each careful in its own way; the lower one counts. By sums: what is offered, less what others hold by
/// decision and what pods ask for that Meridian did not place. By shapes: what is free on each node now, so that free
/// amounts scattered over nodes are not counted as one, plus what is bound already.
pub(crate) fn fits(cluster: &ClusterFacts, zones: &[String], ledger: &Ledger, pod: Amounts, bound: i64) -> i64 {
    let zones = cluster.capacity.iter().filter(|zone| zones.contains(&zone.name));
    let (mut by_sum, mut by_shape) = (0, bound);
    for zone in zones {
        by_sum = by_sums(zone, ledger.held(&cluster.name, &zone.name), pod).saturating_add(by_sum);
        let on_nodes = |shape: &Shape| i64::from(shape.nodes).saturating_mul(times(shape.free, pod));
        by_shape = zone.shapes.iter().map(on_nodes).fold(by_shape, i64::saturating_add);
    }
    by_sum.min(by_shape).clamp(0, PLENTY)
}

fn by_sums(zone: &ZoneCapacity, held: Amounts, pod: Amounts) -> i64 {
    times(zone.allocatable.plus_times(zone.foreign, -1).plus_times(held, -1), pod)
}

/// How often a pod fits; a resource it does not ask for does not limit.
fn times(free: Amounts, pod: Amounts) -> i64 {
    let of = |free: i64, each: i64| if each > 0 { (free / each).max(0) } else { PLENTY };
    of(free.cpu_milli, pod.cpu_milli).min(of(free.memory_mi, pod.memory_mi)).min(of(free.pods, pod.pods))
}
