//! Places that the user assumes to be lost, and the remaining fleet. Pure.

use std::collections::BTreeSet;

use domain::placement::{Directive, DirectiveTarget, Effect};
use domain::topology::{CellFacts, Topology};

use crate::failure::Failure;

/// Returns the maximum number of replicas that a cell loses at once; `None` if no loss affects it.
///
/// A cell over several zones loses the even share of each lost zone. Of its odd replicas, it loses as many as may run
/// in the lost zones.
pub(super) fn lost_of(cell: &CellFacts, replicas: i32, losses: &[Directive]) -> Option<i32> {
    if !losses.iter().any(|loss| loss.target.covers(cell)) {
        return None;
    }
    let whole =
        losses.iter().any(|loss| !matches!(loss.target, DirectiveTarget::Zone { .. }) && loss.target.covers(cell));
    let gone = cell.zones.iter().filter(|zone| is_lost(&cell.region, zone, losses)).count();
    if whole || gone == cell.zones.len() {
        return Some(replicas);
    }
    let (gone, parts) = (i32::try_from(gone).ok()?, i32::try_from(cell.zones.len()).ok()?);
    Some(gone * (replicas / parts) + gone.min(replicas % parts))
}

fn is_lost(region: &str, zone: &str, losses: &[Directive]) -> bool {
    losses.iter().any(|loss| match &loss.target {
        DirectiveTarget::Zone { region: in_region, zone: lost } => in_region == region && lost == zone,
        _ => false,
    })
}

/// Returns the fleet without the lost zones of clusters that also lie in other zones.
///
/// Such a cluster continues to run in its remaining zones.
pub(super) fn what_is_left(topology: &Topology, losses: &[Directive]) -> Topology {
    let mut left = topology.clone();
    for cluster in left.clusters.values_mut() {
        let region = cluster.region.clone();
        if cluster.zones.iter().all(|zone| is_lost(&region, zone, losses)) {
            continue;
        }
        cluster.zones.retain(|zone| !is_lost(&region, zone, losses));
        cluster.capacity.retain(|zone| !is_lost(&region, &zone.name, losses));
    }
    for cell in left.cells.values_mut() {
        let region = cell.region.clone();
        if !cell.zones.iter().all(|zone| is_lost(&region, zone, losses)) {
            cell.zones.retain(|zone| !is_lost(&region, zone, losses));
        }
    }
    left
}

/// Parses the value of `--lose` into directives that exclude the lost places.
pub(super) fn loss(text: &str, topology: &Topology) -> Result<Vec<Directive>, Failure> {
    let usage = |message: String| Failure::Usage(format!("--lose {text}: {message}"));
    let (what, name) = text
        .split_once('=')
        .ok_or_else(|| usage("write zone=Z, zone=REGION/Z, region=R, cluster=C or cell=C".to_owned()))?;
    let targets: Vec<DirectiveTarget> = match what {
        "region" => vec![DirectiveTarget::Region { region: name.to_owned() }],
        "cluster" => vec![DirectiveTarget::Cluster { cluster: name.to_owned() }],
        "cell" => vec![DirectiveTarget::Cell { cell: name.to_owned() }],
        "zone" => {
            let (region, zone) = name.split_once('/').map_or((None, name), |(region, zone)| (Some(region), zone));
            let regions: BTreeSet<&str> = topology
                .cells
                .values()
                .filter(|cell| {
                    cell.zones.iter().any(|known| known == zone) && region.is_none_or(|region| region == cell.region)
                })
                .map(|cell| cell.region.as_str())
                .collect();
            if regions.len() > 1 {
                return Err(usage(format!("several regions have such a zone; write zone=REGION/{zone}")));
            }
            regions
                .into_iter()
                .map(|region| DirectiveTarget::Zone { region: region.to_owned(), zone: zone.to_owned() })
                .collect()
        }
        _ => return Err(usage(format!("{what} is not one of zone, region, cluster and cell"))),
    };
    let known = targets.iter().any(|target| topology.cells.values().any(|cell| target.covers(cell)));
    if !known {
        let zones: BTreeSet<String> = topology
            .cells
            .values()
            .flat_map(|cell| cell.zones.iter().map(move |zone| format!("{}/{zone}", cell.region)))
            .collect();
        return Err(usage(format!(
            "there is no such place; zones are {}",
            zones.into_iter().collect::<Vec<_>>().join(", ")
        )));
    }
    Ok(targets
        .into_iter()
        .map(|target| Directive {
            id: 0,
            target,
            app: None,
            effect: Effect::Exclude,
            owner: "what-if".to_owned(),
            reason: format!("{text} is lost"),
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use domain::stored_topology::{StoredCluster, topology_from_rows};
    use serde_json::json;

    use super::*;

    fn fleet() -> Topology {
        let cluster = |name: &str, zones: &[&str]| StoredCluster {
            name: name.to_owned(),
            labels: json!({}),
            spec: json!({ "region": "r", "zones": zones, "uid": name, "connection": { "server": "https://m:6443" } }),
            leaving: false,
            health: Some(vocabulary::Verdict::Pass),
            kinds: json!([]),
            capacity: json!([]),
        };
        topology_from_rows(vec![cluster("one", &["a"]), cluster("wide", &["a", "b", "c"])], Vec::new()).0
    }

    #[test]
    fn a_cluster_over_zones_loses_only_what_may_be_in_the_lost_ones() {
        let topology = fleet();
        for (case, lost, one, wide, left) in [
            ("a zone", vec!["zone=a"], Some(7), Some(3), vec!["b", "c"]),
            ("two zones", vec!["zone=a", "zone=r/b"], Some(7), Some(5), vec!["c"]),
            ("all its zones", vec!["zone=a", "zone=b", "zone=c"], Some(7), Some(7), vec!["a", "b", "c"]),
            ("another cluster", vec!["cluster=one"], Some(7), None, vec!["a", "b", "c"]),
            ("the region", vec!["region=r"], Some(7), Some(7), vec!["a", "b", "c"]),
        ] {
            let losses: Vec<Directive> = lost.iter().flat_map(|text| loss(text, &topology).unwrap()).collect();
            // Seven replicas over three zones are three, two and two.
            let of = |name: &str| lost_of(&topology.cells[name], 7, &losses);
            assert_eq!((of("one"), of("wide")), (one, wide), "{case}");
            assert_eq!(what_is_left(&topology, &losses).cells["wide"].zones, left, "{case}");
        }
    }
}
