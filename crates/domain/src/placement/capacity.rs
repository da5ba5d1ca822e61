//! Computes how many replicas of an Application fit in the zones of a cluster.

use crds::cluster::v1alpha1::{Amounts, Shape, ZoneCapacity};

use super::request::Ledger;
use crate::topology::ClusterFacts;

/// Number of replicas that is used where nothing limits.
pub(crate) const PLENTY: i64 = 1_000_000;

/// Returns the maximum number of replicas that fit in `zones`, including those already bound there.
///
/// The result is the lower of two estimates, each of which is careful in a different way:
/// - By sums: the allocatable amounts, less the holdings of other Applications by decision, less the requests of pods
///   that Meridian did not place.
/// - By shapes: the replicas that fit on each node now, plus those already bound. Free amounts scattered over nodes
///   are not added up.
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

/// Returns how many pods fit. A resource that the pod does not request does not limit the number.
fn times(free: Amounts, pod: Amounts) -> i64 {
    let of = |free: i64, each: i64| if each > 0 { (free / each).max(0) } else { PLENTY };
    of(free.cpu_milli, pod.cpu_milli).min(of(free.memory_mi, pod.memory_mi)).min(of(free.pods, pod.pods))
}
