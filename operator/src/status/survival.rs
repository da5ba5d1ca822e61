//! Checks whether enough available replicas remain after a loss of zones. Pure.
//!
//! The policy defines the loss of zones that is to be survived.

use std::collections::BTreeMap;

use crds::PlacementSpec;
use crds::application::v1alpha1::CellReplicas;
use crds::placement_policy::v1alpha1::Topology as Level;

/// Returns whether enough replicas remain after the loss of zones, and the numbers as text.
///
/// Returns `None` where the policy asks to survive no loss. In a cell over zones, the observed numbers by zone count.
/// Until they are available, each zone counts with the largest part of an even division. Silent cells count for
/// nothing.
pub(super) fn judge(spec: &PlacementSpec, desired: i32, cells: &[CellReplicas]) -> Option<(bool, String)> {
    let spread = spec.spread.iter().find(|spread| spread.topology == Level::Zone)?;
    let losses = usize::try_from(spread.survive_loss.as_ref()?.domains).ok()?;
    if desired == 0 {
        return None;
    }
    let mut zones: BTreeMap<(&str, &str), i32> = BTreeMap::new();
    let (mut total, mut is_assumed) = (0, false);
    for cell in cells.iter().filter(|cell| !cell.stale && cell.available > 0) {
        let names: Vec<&str> = cell.zone.split('+').collect();
        let observed: i32 = cell.ready_by_zone.values().sum();
        if observed > 0 {
            total += observed;
            for (zone, ready) in &cell.ready_by_zone {
                *zones.entry((&cell.region, zone)).or_default() += ready;
            }
            continue;
        }
        total += cell.available;
        is_assumed |= names.len() > 1;
        let parts = i32::try_from(names.len()).unwrap_or(i32::MAX);
        for zone in names {
            *zones.entry((&cell.region, zone)).or_default() += (cell.available + parts - 1) / parts;
        }
    }
    let mut largest: Vec<((&str, &str), i32)> = zones.into_iter().collect();
    largest.sort_by_key(|(_, count)| -count);
    largest.truncate(losses);
    let left = (total - largest.iter().map(|(_, count)| count).sum::<i32>()).max(0);
    let worst: Vec<String> = largest.iter().map(|((region, zone), _)| format!("{region}/{zone}")).collect();
    let how = if is_assumed {
        ", where a cluster over zones counts as evenly divided until its pods are counted"
    } else {
        ""
    };
    let message = format!(
        "{left} available replicas would be left after the loss of {}, {desired} are asked for{how}",
        worst.join(" and ")
    );
    Some((left >= desired, message))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn observed_zones_decide_what_a_loss_leaves() {
        let spec: PlacementSpec = serde_json::from_value(json!({ "spread": [
            { "topology": "Zone", "surviveLoss": { "domains": 1, "by": "Overprovision" } }] }))
        .unwrap();
        let cell = |zone: &str, available: i32, by_zone: &[(&str, i32)]| CellReplicas {
            cell: "c".to_owned(),
            region: "r".to_owned(),
            zone: zone.to_owned(),
            available,
            ready_by_zone: by_zone.iter().map(|(zone, count)| ((*zone).to_owned(), *count)).collect(),
            ..CellReplicas::default()
        };
        let silent = |cell: CellReplicas| CellReplicas { stale: true, ..cell };
        for (case, cells, expected, expected_text) in [
            (
                "a cell in each zone",
                vec![cell("a", 6, &[]), cell("b", 6, &[]), cell("c", 6, &[])],
                true,
                "12 available",
            ),
            ("assumed to be even", vec![cell("a+b+c", 18, &[])], true, "evenly divided until its pods are counted"),
            ("assumed, odd", vec![cell("a+b+c", 17, &[])], false, "11 available"),
            ("observed even", vec![cell("a+b+c", 18, &[("a", 6), ("b", 6), ("c", 6)])], true, "loss of r/"),
            (
                "observed in one zone",
                vec![cell("a+b+c", 18, &[("a", 10), ("b", 8), ("c", 0)])],
                false,
                "8 available replicas would be left after the loss of r/a",
            ),
            (
                "beside a cell in one of them",
                vec![cell("a+b+c", 12, &[("a", 4), ("b", 4), ("c", 4)]), cell("a", 6, &[])],
                false,
                "8 available",
            ),
            ("silent", vec![cell("a+b+c", 18, &[]), silent(cell("d", 9, &[]))], true, "12 available"),
        ] {
            let (survives, message) = judge(&spec, 12, &cells).unwrap();
            assert_eq!(survives, expected, "{case}: {message}");
            assert!(message.contains(expected_text), "{case}: {message}");
        }
        assert_eq!(judge(&spec, 0, &[]), None, "nothing is asked for");
        assert_eq!(judge(&serde_json::from_value(json!({})).unwrap(), 3, &[]), None, "no loss is to be survived");
    }
}
