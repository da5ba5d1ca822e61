//! What placement promises, over random fleets and histories.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};

use crds::PlacementSpec;
use crds::cluster::v1alpha1::Amounts;
use domain::placement::{Directive, DirectiveTarget, Effect, Held, Ledger, Outcome, Request, decide, rebalance};
use domain::stored_topology::{StoredCluster, topology_from_rows};
use domain::topology::Topology;
use proptest::prelude::*;
use serde_json::{Value, json};
use vocabulary::{AppKey, CellName};

const POD: Amounts = Amounts { cpu_milli: 100, memory_mi: 64, pods: 1 };

/// A cluster to be: region and zone by number, pods it has room for.
#[derive(Debug, Clone)]
struct Site {
    region: u8,
    zone: u8,
    room: i64,
    drain: bool,
    cordoned: bool,
}

fn site(region: u8, zone: u8, room: i64) -> Site {
    Site { region, zone, room, drain: false, cordoned: false }
}

fn cluster(number: usize, site: &Site) -> StoredCluster {
    let zone = format!("z{}", site.zone);
    let free = json!({ "cpuMilli": site.room * 100, "memoryMi": site.room * 64, "pods": site.room });
    let nothing = json!({ "cpuMilli": 0, "memoryMi": 0, "pods": 0 });
    StoredCluster {
        name: format!("c{number:02}"),
        labels: json!({}),
        spec: json!({
            "region": format!("r{}", site.region), "zones": [zone], "uid": format!("uid-{number}"),
            "connection": { "server": "https://127.0.0.1:1" }, "drain": site.drain, "cordoned": site.cordoned,
        }),
        leaving: false,
        health: Some("Pass".to_owned()),
        kinds: json!([]),
        capacity: json!([{ "name": zone, "allocatable": free, "requested": nothing, "foreign": nothing, "reserved": nothing,
            "shapes": [{ "free": free, "nodes": 1 }] }]),
    }
}

fn topology(sites: &[Site]) -> Topology {
    let (topology, problems) =
        topology_from_rows(sites.iter().enumerate().map(|(i, site)| cluster(i, site)).collect(), vec![]);
    assert!(problems.is_empty(), "{problems:?}");
    topology
}

fn key() -> AppKey {
    AppKey { namespace: "shop".to_owned(), name: "catalog".to_owned() }
}

fn spec(value: Value) -> PlacementSpec {
    serde_json::from_value(value).unwrap()
}

fn ask(
    sites: &[Site],
    spec: &PlacementSpec,
    replicas: i32,
    previous: &BTreeMap<CellName, Held>,
    directives: &[Directive],
    rebalanced: bool,
) -> Outcome {
    let (key, kinds) = (key(), BTreeSet::new());
    let request = Request { app: &key, replicas, spec, pod: POD, kinds: &kinds };
    let decide = if rebalanced { rebalance } else { decide };
    decide(&request, &topology(sites), directives, previous, &Ledger::default())
}

fn fresh(sites: &[Site], spec: &PlacementSpec, replicas: i32) -> Outcome {
    ask(sites, spec, replicas, &BTreeMap::new(), &[], false)
}

/// An outcome as the next decision finds it: everything runs.
fn standing(outcome: &Outcome) -> BTreeMap<CellName, Held> {
    let held = outcome.targets.iter().filter(|(_, target)| **target > 0);
    held.map(|(cell, target)| (cell.clone(), Held { target: *target, bound: 0 })).collect()
}

fn next(sites: &[Site], spec: &PlacementSpec, replicas: i32, before: &Outcome) -> Outcome {
    ask(sites, spec, replicas, &standing(before), &[], false)
}

fn sum(outcome: &Outcome) -> i32 {
    outcome.targets.values().sum()
}

fn of(outcome: &Outcome, cell: &CellName) -> i32 {
    outcome.targets.get(cell).copied().unwrap_or(0)
}

fn numbers(outcome: &Outcome) -> Vec<i32> {
    outcome.targets.values().copied().collect()
}

#[test]
fn examples() {
    let three = [site(0, 1, 100), site(0, 2, 100), site(1, 1, 100)];
    let even = spec(json!({ "spread": [{ "topology": "Zone", "maxSkew": 1, "minDomains": 2 }] }));
    let survive =
        spec(json!({ "spread": [{ "topology": "Zone", "surviveLoss": { "domains": 1, "by": "Overprovision" } }] }));
    for (case, spec, replicas, expected) in [
        ("twelve over three zones", even.clone(), 12, vec![4, 4, 4]),
        ("any zone may be lost", survive, 12, vec![6, 6, 6]),
        ("no policy at all", spec(json!({})), 7, vec![3, 2, 2]),
        ("shares, then even", spec(json!({ "shares": { "c00": 6, "c01": "25%" } })), 12, vec![6, 3, 3]),
        (
            "static weights",
            spec(json!({ "weights": { "mode": "Static", "static": { "c00": 3, "c01": 1, "c02": 2 } } })),
            12,
            vec![6, 2, 4],
        ),
        (
            "at most five",
            spec(json!({ "limits": [{ "topology": "Cluster", "max": 5 }], "shares": { "c00": 5 } })),
            12,
            vec![5, 4, 3],
        ),
    ] {
        assert_eq!(numbers(&fresh(&three, &spec, replicas)), expected, "{case}");
    }
    let twelve = fresh(&three, &even, 12);
    let twenty = next(&three, &even, 20, &twelve);
    assert_eq!(numbers(&twenty), [7, 7, 6]);
    assert_eq!(numbers(&next(&three, &even, 7, &twenty)), [3, 2, 2]);
    let short = fresh(&[site(0, 1, 3), site(0, 2, 3)], &spec(json!({})), 10);
    assert_eq!((sum(&short), short.shortfall), (6, 4));
}

fn sites() -> impl Strategy<Value = Vec<Site>> {
    prop::collection::vec((0..2u8, 0..3u8, 0..40i64).prop_map(|(region, zone, room)| site(region, zone, room)), 1..12)
}

/// Policies whose constraints may be unsatisfiable give way, so that sums are comparable.
fn policies() -> impl Strategy<Value = PlacementSpec> {
    let spread = prop::option::of((1..4i32, prop::bool::ANY)).prop_map(|spread| match spread {
        None => json!([]),
        Some((skew, zone)) => json!([{ "topology": if zone { "Zone" } else { "Cluster" }, "maxSkew": skew, "whenUnsatisfiable": "BestEffort" }]),
    });
    let limits = prop::option::of(1..15i32)
        .prop_map(|max| max.map_or(json!([]), |max| json!([{ "topology": "Cluster", "max": max }])));
    let weights = prop::option::of(prop::collection::btree_map("c0[0-9]", 1..9i32, 1..6)).prop_map(|weights| {
        weights.map_or(json!({ "mode": "Even" }), |weights| json!({ "mode": "Static", "static": weights }))
    });
    (spread, limits, weights)
        .prop_map(|(spread, limits, weights)| spec(json!({ "spread": spread, "limits": limits, "weights": weights })))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn exact_sum_or_named_shortfall(sites in sites(), spec in policies(), replicas in 0..120i32) {
        let outcome = fresh(&sites, &spec, replicas);
        prop_assert_eq!(sum(&outcome) + outcome.shortfall, outcome.wanted, "{:?}", outcome);
        prop_assert_eq!(outcome.wanted, replicas);
    }

    #[test]
    fn hard_limits_hold(sites in sites(), spec in policies(), replicas in 0..120i32) {
        let outcome = fresh(&sites, &spec, replicas);
        for cell in &outcome.cells {
            let number: usize = cell.cell.as_str()[1..].parse().unwrap();
            prop_assert!(i64::from(cell.target) <= sites[number].room, "capacity: {:?}", cell);
            let max = spec.limits.first().and_then(|limit| limit.max).unwrap_or(i32::MAX);
            prop_assert!(cell.target <= max, "limit: {:?}", cell);
        }
    }

    #[test]
    fn deterministic_and_idempotent(sites in sites(), spec in policies(), replicas in 0..80i32) {
        let first = fresh(&sites, &spec, replicas);
        prop_assert_eq!(&first, &fresh(&sites, &spec, replicas));
        let again = next(&sites, &spec, replicas, &first);
        prop_assert_eq!(standing(&first), standing(&again));
    }

    #[test]
    fn fresh_is_monotone_in_replicas(sites in sites(), replicas in 0..80i32) {
        let spec = spec(json!({}));
        let (fewer, more) = (fresh(&sites, &spec, replicas), fresh(&sites, &spec, replicas + 1));
        for (cell, target) in &fewer.targets {
            prop_assert!(of(&more, cell) >= *target, "{cell}: {target} of {replicas}, {} of one more", of(&more, cell));
        }
    }

    #[test]
    fn growing_never_lowers_and_shrinking_never_raises(sites in sites(), spec in policies(), history in prop::collection::vec(1..100i32, 2..6)) {
        let mut before = fresh(&sites, &spec, history[0]);
        for pair in history.windows(2) {
            let after = next(&sites, &spec, pair[1], &before);
            for cell in before.targets.keys().chain(after.targets.keys()) {
                let (was, is) = (of(&before, cell), of(&after, cell));
                if pair[1] >= pair[0] {
                    prop_assert!(is >= was, "growing {:?} lowered {cell}: {was} to {is}", pair);
                } else {
                    prop_assert!(is <= was || before.shortfall > 0, "shrinking {:?} raised {cell}: {was} to {is}", pair);
                }
            }
            before = after;
        }
    }

    #[test]
    fn a_leaving_cluster_moves_only_its_own(sites in sites(), spec in policies(), replicas in 1..80i32, which in 0..12usize) {
        let before = fresh(&sites, &spec, replicas);
        let mut drained = sites.clone();
        let which = which % sites.len();
        drained[which].drain = true;
        let after = next(&drained, &spec, replicas, &before);
        for (cell, was) in &before.targets {
            if cell.as_str() != format!("c{which:02}") {
                prop_assert!(of(&after, cell) >= *was, "{cell} was lowered from {was} to {}", of(&after, cell));
            }
        }
        prop_assert!(sum(&after) >= sum(&before), "a drain loses nothing");
    }

    #[test]
    fn a_joining_cluster_receives_only_new_replicas(sites in sites(), spec in policies(), replicas in 1..80i32) {
        let before = fresh(&sites, &spec, replicas);
        prop_assume!(before.shortfall == 0);
        let mut joined = sites.clone();
        joined.push(site(1, 2, 50));
        let after = next(&joined, &spec, replicas, &before);
        prop_assert_eq!(standing(&before), standing(&after));
    }

    #[test]
    fn no_candidates_hold_the_previous_placement(sites in sites(), replicas in 1..80i32) {
        let spec = spec(json!({}));
        let before = fresh(&sites, &spec, replicas);
        let mut closed = sites.clone();
        for site in &mut closed {
            site.cordoned = true;
        }
        prop_assert_eq!(standing(&before), standing(&next(&closed, &spec, replicas, &before)));
        for site in &mut closed {
            site.drain = true;
        }
        prop_assert_eq!(standing(&before), standing(&next(&closed, &spec, replicas, &before)));
    }

    #[test]
    fn survive_loss_leaves_enough(zones in 2..6u8, replicas in 1..60i32) {
        let sites: Vec<Site> = (0..zones).map(|zone| site(0, zone, 500)).collect();
        let spec = spec(json!({ "spread": [{ "topology": "Zone", "surviveLoss": { "domains": 1, "by": "Overprovision" } }] }));
        let outcome = fresh(&sites, &spec, replicas);
        let largest = outcome.targets.values().max().copied().unwrap_or(0);
        prop_assert!(sum(&outcome) - largest >= replicas, "{:?}", outcome.targets);
        // The fewest: with k domains each but one must hold a (k−1)-th part.
        let others = i32::from(zones) - 1;
        let fewest = replicas + (replicas + others - 1) / others;
        prop_assert_eq!(sum(&outcome), fewest, "{:?}", outcome.targets);
    }

    #[test]
    fn webster_matches_a_naive_reference(weights in prop::collection::vec(1..20i32, 1..8), replicas in 0..60i32) {
        let sites: Vec<Site> = weights.iter().map(|_| site(0, 0, 1000)).collect();
        let named: BTreeMap<String, i32> = weights.iter().enumerate().map(|(i, weight)| (format!("c{i:02}"), *weight)).collect();
        let outcome = fresh(&sites, &spec(json!({ "weights": { "mode": "Static", "static": named } })), replicas);
        let mut seats = vec![0i32; weights.len()];
        for _ in 0..replicas {
            // The highest weight ÷ (2 × seats + 1); the first among equals.
            let best = (0..seats.len()).rev().max_by(|a, b| (weights[*a] * (2 * seats[*b] + 1)).cmp(&(weights[*b] * (2 * seats[*a] + 1)))).unwrap();
            seats[best] += 1;
        }
        for (i, expected) in seats.iter().enumerate() {
            let cell: CellName = format!("c{i:02}").parse().unwrap();
            prop_assert_eq!(of(&outcome, &cell), *expected, "{}", i);
        }
    }

    #[test]
    fn rebalance_keeps_the_sum_and_the_limits(sites in sites(), spec in policies(), replicas in 1..80i32) {
        let before = fresh(&sites, &spec, replicas);
        prop_assume!(before.shortfall == 0);
        let mut joined = sites.clone();
        joined.push(site(1, 2, 50));
        let after = ask(&joined, &spec, replicas, &standing(&before), &[], true);
        prop_assert_eq!(sum(&after), replicas);
    }
}

#[test]
fn an_excluded_place_is_left_and_a_pin_holds() {
    let three = [site(0, 1, 100), site(0, 2, 100), site(1, 1, 100)];
    let policy = spec(json!({}));
    let before = fresh(&three, &policy, 12);
    let directive = |effect, cluster: &str| Directive {
        id: 1,
        target: DirectiveTarget::Cluster { cluster: cluster.to_owned() },
        app: None,
        effect,
        owner: "somebody".to_owned(),
        reason: "a test".to_owned(),
    };
    let left = ask(&three, &policy, 12, &standing(&before), &[directive(Effect::Exclude, "c01")], false);
    assert_eq!(numbers(&left), [6, 0, 6]);
    let pinned = ask(&three, &policy, 12, &BTreeMap::new(), &[directive(Effect::Pin { replicas: 2 }, "c01")], false);
    assert_eq!(numbers(&pinned), [5, 2, 5]);
}
