//! Clusters that span zones and declare no cells.
//!
//! Their replicas are divided evenly over the zones, and the odd ones lie in any of them.

use std::collections::BTreeMap;

use domain::placement::Spread;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::fleet::{Placement, Site, World, name, policy, site, standing, sum};
use super::{always, promise};

/// Returns a cluster over several zones, each with the same room.
fn regional(region: u8, zones: &[u8], room: i64) -> Site {
    Site { zones: zones.iter().map(|zone| (*zone, room)).collect(), ..site(region, 0, 0) }
}

fn even(more: &Value) -> Value {
    let mut spread = json!({ "topology": "Zone", "maxSkew": 1 });
    for (key, value) in more.as_object().unwrap() {
        spread[key] = value.clone();
    }
    json!({ "spread": [spread] })
}

#[test]
fn a_cluster_over_zones_counts_as_evenly_divided() {
    let three = || vec![regional(0, &[1, 2, 3], 100)];
    let beside = || vec![regional(0, &[1, 2, 3], 100), site(0, 4, 100)];
    let survive = json!({ "surviveLoss": { "domains": 1, "by": "Overprovision" } });
    let most = |max: i32| json!({ "limits": [{ "topology": "Zone", "max": max }] });
    for (case, sites, spec, replicas, expected, short) in [
        ("alone it takes all", three(), even(&json!({ "minDomains": 3 })), 7, vec![7], 0),
        ("fewer than zones hold as many zones", three(), even(&json!({ "minDomains": 2 })), 2, vec![2], 0),
        // At most 6 of 18 lie in each zone, so 12 are left.
        ("twelve survive the loss of a zone", three(), even(&survive), 12, vec![18], 0),
        // 19 would lose 7, as 18 would lose 6.
        ("thirteen need one more in each of two zones", three(), even(&survive), 13, vec![20], 0),
        ("a zone beside it takes as many as one of its zones", beside(), even(&json!({})), 12, vec![9, 3], 0),
        ("a limit holds wherever odd replicas are", three(), most(2), 9, vec![6], 3),
        ("a zone in common", vec![regional(0, &[1, 2, 3], 100), site(0, 1, 100)], even(&json!({})), 20, vec![19, 1], 0),
    ] {
        let outcome = World::new(sites, policy(spec), replicas).fresh();
        let placed: Vec<i32> = outcome.targets.values().copied().collect();
        assert_eq!((placed, outcome.shortfall), (expected, short), "{case}: {outcome:?}");
        assert_eq!(outcome.hold, None, "{case}");
    }
}

/// Cells that are declared for a cluster with running replicas take only new replicas.
///
/// Nothing moves.
#[test]
fn declaring_cells_per_zone_moves_nothing_that_runs() {
    let mut world = World::new(vec![regional(0, &[1, 2, 3], 100)], policy(even(&json!({}))), 9);
    let before = standing(&world.fresh());
    world.sites[0].cells = vec![(0, None), (1, None), (2, None)];
    assert_eq!(standing(&world.decide(&before)), before);
    (world.replicas, world.decided) = (12, Some(9));
    let grown: BTreeMap<String, i32> =
        standing(&world.decide(&before)).into_iter().map(|(cell, target)| (cell.to_string(), target)).collect();
    let expected = [("c00", 9), ("c00x0", 1), ("c00x1", 1), ("c00x2", 1)];
    assert_eq!(grown, expected.map(|(cell, target)| (cell.to_owned(), target)).into());
}

/// Generates clusters of at most three zones, few enough to try every division of odd replicas.
fn small() -> impl Strategy<Value = Vec<Site>> {
    let zones = prop::collection::btree_map(0..4u8, 0..9i64, 1..4);
    let site =
        (0..2u8, zones).prop_map(|(region, zones)| Site { zones: zones.into_iter().collect(), ..site(region, 0, 0) });
    prop::collection::vec(site, 1..5)
}

/// Returns the numbers per zone for every way to divide odd replicas over the zones of their cluster.
fn divisions(sites: &[Site], placed: &Placement) -> Vec<BTreeMap<(u8, u8), i32>> {
    let mut all = vec![BTreeMap::new()];
    for (i, site) in sites.iter().enumerate() {
        let (count, parts) = (placed.get(name(i).as_str()).copied().unwrap_or(0), site.zones.len());
        let odd = (count as usize) % parts;
        let choices = (0..1u32 << parts).filter(|choice| choice.count_ones() as usize == odd);
        let mut next = Vec::new();
        for choice in choices {
            for known in &all {
                let mut zones: BTreeMap<(u8, u8), i32> = known.clone();
                for (place, (zone, _)) in site.zones.iter().enumerate() {
                    let more = i32::from(choice & (1 << place) != 0);
                    *zones.entry((site.region, *zone)).or_default() += count / parts as i32 + more;
                }
                next.push(zones);
            }
        }
        all = next;
    }
    all
}

#[test]
fn promises_hold_wherever_odd_replicas_are() {
    let asked = (1..4i32, 1..4i32, prop::option::of(1..3i32), prop::option::of(0..9i32), prop::bool::ANY);
    promise("promises_hold", 4.0, (small(), asked, 0..25i32), |(sites, asked, replicas)| {
        let (skew, domains, survive, max, hold) = asked;
        let mut spec = even(&json!({ "maxSkew": skew, "minDomains": domains + survive.unwrap_or(0),
            "whenUnsatisfiable": if hold { "Hold" } else { "BestEffort" } }));
        if let Some(domains) = survive {
            spec["spread"][0]["surviveLoss"] = json!({ "domains": domains, "by": "Overprovision" });
        }
        if let Some(max) = max {
            spec["limits"] = json!([{ "topology": "Zone", "max": max }]);
        }
        let world = World::new(sites, policy(spec), replicas);
        let outcome = world.fresh();
        let satisfied = outcome.spread == Spread::Satisfied && outcome.hold.is_none();
        let over = |site: &Site, placed: i32| !(placed as usize).is_multiple_of(site.zones.len());
        let placed = |i: usize| outcome.targets.get(name(i).as_str()).copied().unwrap_or(0);
        let odd: Vec<&Site> =
            world.sites.iter().enumerate().filter(|(i, site)| over(site, placed(*i))).map(|(_, site)| site).collect();
        for zones in divisions(&world.sites, &outcome.targets) {
            let numbers: Vec<i32> = zones.values().copied().collect();
            if let Some(max) = max {
                prop_assert!(numbers.iter().all(|number| *number <= max), "over {max}: {zones:?}");
            }
            if !satisfied {
                continue;
            }
            let total = sum(&outcome.targets);
            let used = numbers.iter().filter(|number| **number > 0).count() as i32;
            prop_assert!(used >= (domains + survive.unwrap_or(0)).min(total), "{used} zones: {zones:?}");
            if let Some(losses) = survive.filter(|_| replicas > 0) {
                let left = always::left_after_any_loss(&numbers, total, losses as usize);
                prop_assert!(left >= replicas, "{left} of {replicas} left: {zones:?}");
            }
            let difference = numbers.iter().max().unwrap_or(&0) - numbers.iter().min().unwrap_or(&0);
            // Each cluster with odd replicas may add one to the difference. A single one adds none where it shares no
            // zone.
            let shared = |one: &Site| {
                let beside = world.sites.iter().filter(|other| other.region == one.region);
                beside
                    .filter(|other| other.zones.iter().any(|(zone, _)| one.zones.iter().any(|(own, _)| own == zone)))
                    .count()
                    > 1
            };
            let slack = if odd.len() == 1 && !shared(odd[0]) { 0 } else { odd.len() as i32 };
            prop_assert!(difference <= skew + slack, "difference {difference}, {skew} and {slack} allowed: {zones:?}");
        }
        Ok(())
    });
}

/// Compares with every number in every cluster.
///
/// None needs fewer replicas, where clusters share no zone.
#[test]
fn surviving_a_loss_over_zones_takes_the_fewest() {
    promise("surviving_a_loss_over_zones", 2.0, (small(), 1..8i32, 1..3usize), |(mut sites, replicas, losses)| {
        for (region, site) in sites.iter_mut().enumerate() {
            site.region = region as u8;
        }
        let spec = policy(json!({ "spread": [{ "topology": "Zone", "whenUnsatisfiable": "BestEffort",
            "surviveLoss": { "domains": losses, "by": "Overprovision" } }] }));
        let world = World::new(sites, spec, replicas);
        let outcome = world.fresh();
        let rooms: Vec<i64> = world.sites.iter().map(|site| site.zones.iter().map(|(_, room)| room).sum()).collect();
        prop_assume!(rooms.iter().map(|room| room + 1).product::<i64>() < 20_000);
        let mut fewest: Option<i32> = None;
        let mut fill = vec![0i32; rooms.len()];
        loop {
            let total: i32 = fill.iter().sum();
            let mut most: BTreeMap<(u8, u8), i32> = BTreeMap::new();
            for (site, count) in world.sites.iter().zip(&fill) {
                let parts = site.zones.len() as i32;
                for (zone, _) in &site.zones {
                    *most.entry((site.region, *zone)).or_default() += (count + parts - 1) / parts;
                }
            }
            let most: Vec<i32> = most.into_values().collect();
            if always::left_after_any_loss(&most, total, losses) >= replicas && fewest.is_none_or(|one| total < one) {
                fewest = Some(total);
            }
            let Some(next) = (0..fill.len()).find(|i| i64::from(fill[*i]) < rooms[*i]) else { break };
            fill[next] += 1;
            fill[..next].fill(0);
        }
        match fewest {
            Some(fewest) => {
                prop_assert_eq!((sum(&outcome.targets), outcome.shortfall), (fewest, 0), "{:?}", outcome.targets);
            }
            None => prop_assert!(matches!(outcome.spread, Spread::Violated(_)), "{:?}", outcome.targets),
        }
        Ok(())
    });
}
