//! Random fleets and policies, and decisions over them.

use std::collections::{BTreeMap, BTreeSet};

use crds::PlacementSpec;
use crds::cluster::v1alpha1::Amounts;
use domain::placement::{
    Directive, DirectiveTarget, Effect, Ledger, Outcome, PreviousPlacement, Request, check_spec, decide, rebalance,
};
use domain::stored_topology::{StoredCell, StoredCluster, topology_from_rows};
use domain::topology::Topology;
use proptest::prelude::*;
use serde_json::{Value, json};
use vocabulary::{AppKey, CellName, Verdict};

pub(crate) const POD: Amounts = Amounts { cpu_milli: 100, memory_mi: 64, pods: 1 };

/// Number of replicas by the name of the cell.
pub(crate) type Placement = BTreeMap<CellName, i32>;

/// A declared cell: index of its zone in the cluster's list, its unit, and its half of a pair.
pub(crate) type SiteCell = (usize, Option<(u8, Option<char>)>);

/// A member cluster.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    pub(crate) region: u8,
    /// Zones, each with the number of pods it has room for.
    pub(crate) zones: Vec<(u8, i64)>,
    pub(crate) cells: Vec<SiteCell>,
    pub(crate) taint: Option<u8>,
    pub(crate) drain: bool,
    pub(crate) cordoned: bool,
    pub(crate) health: Verdict,
    /// Whether the cluster is being removed.
    pub(crate) leaving: bool,
}

/// Returns a cluster of one zone that declares no cells.
pub(crate) fn site(region: u8, zone: u8, room: i64) -> Site {
    Site {
        region,
        zones: vec![(zone, room)],
        cells: vec![],
        taint: None,
        drain: false,
        cordoned: false,
        health: Verdict::Pass,
        leaving: false,
    }
}

/// A fleet with a policy and the number of replicas asked for.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) sites: Vec<Site>,
    pub(crate) spec: PlacementSpec,
    pub(crate) replicas: i32,
    /// Replicas asked for when the placement was decided.
    pub(crate) decided: Option<i32>,
    pub(crate) directives: Vec<Directive>,
    /// Whether all pods of the placement run already, so that capacity follows from free amounts on nodes.
    pub(crate) settled: bool,
}

impl World {
    pub(crate) fn new(sites: Vec<Site>, spec: PlacementSpec, replicas: i32) -> Self {
        Self { sites, spec, replicas, decided: None, directives: vec![], settled: false }
    }

    /// Builds the topology of the fleet. `turned` reads all rows in the opposite order.
    pub(crate) fn topology(&self, placed: &Placement, turned: bool) -> Topology {
        let mut clusters: Vec<StoredCluster> =
            self.sites.iter().enumerate().map(|(i, site)| self.cluster(i, site, placed)).collect();
        let mut cells: Vec<StoredCell> = self.sites.iter().enumerate().flat_map(|(i, site)| cells(i, site)).collect();
        if turned {
            clusters.reverse();
            cells.reverse();
        }
        let (topology, problems) = topology_from_rows(clusters, cells);
        assert!(problems.is_empty(), "{problems:?}");
        topology
    }

    fn cluster(&self, number: usize, site: &Site, placed: &Placement) -> StoredCluster {
        let amounts = |pods: i64| json!({ "cpuMilli": pods * 100, "memoryMi": pods * 64, "pods": pods });
        let zones: Vec<Value> = site
            .zones
            .iter()
            .enumerate()
            .map(|(i, (zone, room))| {
                let runs = if self.settled { in_zone(number, site, i, placed) } else { 0 };
                json!({ "name": format!("z{zone}"), "allocatable": amounts(*room), "requested": amounts(runs),
                    "foreign": amounts(0), "reserved": amounts(0),
                    "shapes": [{ "free": amounts((room - runs).max(0)), "nodes": 1 }] })
            })
            .collect();
        let names: Vec<String> = site.zones.iter().map(|(zone, _)| format!("z{zone}")).collect();
        let taints: Vec<Value> = site.taint.iter().map(|key| json!({ "key": format!("t{key}") })).collect();
        StoredCluster {
            name: name(number),
            labels: json!({}),
            spec: json!({
                "region": format!("r{}", site.region), "zones": names, "uid": format!("uid-{number}"),
                "connection": { "server": "https://127.0.0.1:1" }, "taints": taints,
                "drain": site.drain, "cordoned": site.cordoned,
            }),
            leaving: site.leaving,
            health: Some(site.health),
            kinds: json!([]),
            capacity: Value::Array(zones),
        }
    }

    fn run(&self, placed: &Placement, turned: bool, rebalanced: bool) -> Outcome {
        let (key, kinds) = (AppKey { namespace: "shop".to_owned(), name: "catalog".to_owned() }, BTreeSet::new());
        let request = Request {
            app: &key,
            replicas: self.replicas,
            decided: self.decided,
            spec: &self.spec,
            pod: POD,
            kinds: &kinds,
            accounts: &kinds,
        };
        let held = |target: &i32| PreviousPlacement { target: *target, bound: if self.settled { *target } else { 0 } };
        let previous = placed.iter().map(|(cell, target)| (cell.clone(), held(target))).collect();
        let mut directives = self.directives.clone();
        if turned {
            directives.reverse();
        }
        let decide = if rebalanced { rebalance } else { decide };
        decide(&request, &self.topology(placed, turned), &directives, &previous, &Ledger::default())
    }

    pub(crate) fn decide(&self, placed: &Placement) -> Outcome {
        self.run(placed, false, false)
    }

    /// Decides with all inputs in another order.
    pub(crate) fn decide_turned(&self, placed: &Placement) -> Outcome {
        self.run(placed, true, false)
    }

    pub(crate) fn rebalance(&self, placed: &Placement) -> Outcome {
        self.run(placed, false, true)
    }

    pub(crate) fn fresh(&self) -> Outcome {
        self.decide(&Placement::new())
    }
}

pub(crate) fn name(number: usize) -> String {
    format!("c{number:02}")
}

fn cells(number: usize, site: &Site) -> Vec<StoredCell> {
    let cell = |(i, (zone, unit)): (usize, &SiteCell)| {
        let (zone, _) = site.zones[zone % site.zones.len()];
        let mut spec = json!({ "cluster": name(number), "zone": format!("z{zone}") });
        if let Some((unit, half)) = unit {
            spec["unit"] = json!(format!("u{unit}"));
            spec["unitKind"] = json!("R");
            if let Some(half) = half {
                spec["pair"] = json!(half.to_string());
            }
        }
        StoredCell { name: format!("c{number:02}x{i}"), labels: json!({}), spec, leaving: false }
    };
    site.cells.iter().enumerate().map(cell).collect()
}

/// Returns the pods in one zone of a cluster. Pods of the implicit cell are spread over its zones.
pub(crate) fn in_zone(number: usize, site: &Site, zone: usize, placed: &Placement) -> i64 {
    let of = |cell: String| i64::from(placed.get(cell.as_str()).copied().unwrap_or(0));
    let (own, zones) = (of(name(number)), site.zones.len() as i64);
    let declared = site.cells.iter().enumerate().filter(|(_, cell)| cell.0 % site.zones.len() == zone);
    own / zones
        + i64::from((zone as i64) < own % zones)
        + declared.map(|(i, _)| of(format!("c{number:02}x{i}"))).sum::<i64>()
}

/// Returns the placement of an outcome as the next decision finds it.
pub(crate) fn standing(outcome: &Outcome) -> Placement {
    outcome.targets.iter().filter(|(_, target)| **target > 0).map(|(cell, target)| (cell.clone(), *target)).collect()
}

pub(crate) fn sum(placed: &Placement) -> i32 {
    placed.values().sum()
}

pub(crate) fn of(placed: &Placement, cell: &CellName) -> i32 {
    placed.get(cell).copied().unwrap_or(0)
}

pub(crate) fn policy(value: Value) -> PlacementSpec {
    serde_json::from_value(value).unwrap()
}

/// Generates a cluster of one to three zones, with or without declared cells.
///
/// Some clusters are tainted, closed or silent.
pub(crate) fn any_site() -> impl Strategy<Value = Site> {
    let zones = prop::collection::btree_map(0..4u8, 0..30i64, 1..4);
    let unit = prop::option::of((0..3u8, prop::option::of(prop::sample::select(vec!['A', 'B']))));
    let cells = prop_oneof![2 => Just(vec![]), 2 => prop::collection::vec((0..3usize, unit), 1..4)];
    let odd = prop::sample::select(vec!["", "", "", "", "", "", "drain", "cordon", "Fail", "Unknown", "taint"]);
    (0..3u8, zones, cells, odd, 0..2u8).prop_map(|(region, zones, cells, odd, taint)| Site {
        zones: zones.into_iter().collect(),
        cells,
        taint: (odd == "taint").then_some(taint),
        drain: odd == "drain",
        cordoned: odd == "cordon",
        health: match odd {
            "Fail" => Verdict::Fail,
            "Unknown" => Verdict::Unknown,
            _ => Verdict::Pass,
        },
        ..site(region, 0, 0)
    })
}

/// Generates mostly small fleets, and now and then a large one.
pub(crate) fn sites() -> impl Strategy<Value = Vec<Site>> {
    prop_oneof![
        4 => prop::collection::vec(any_site(), 1..8),
        1 => prop::collection::vec(any_site(), 8..28),
    ]
}

fn spread(topology: &'static str) -> impl Strategy<Value = Option<Value>> {
    let asked =
        (prop::option::of(1..4i32), prop::option::of(1..4i32), prop::option::weighted(0.3, 1..3i32), prop::bool::ANY);
    prop::option::weighted(0.4, asked).prop_map(move |asked| {
        let (skew, domains, survive, hold) = asked?;
        let mut value = json!({ "topology": topology, "whenUnsatisfiable": if hold { "Hold" } else { "BestEffort" } });
        if let Some(skew) = skew {
            value["maxSkew"] = json!(skew);
        }
        if let Some(domains) = domains {
            value["minDomains"] = json!(domains + survive.unwrap_or(0));
        }
        if let Some(domains) = survive {
            value["surviveLoss"] = json!({ "domains": domains, "by": "Overprovision" });
        }
        (skew.is_some() || domains.is_some() || survive.is_some()).then_some(value)
    })
}

fn limit(topology: &'static str) -> impl Strategy<Value = Option<Value>> {
    prop::option::weighted(0.3, (0..3i32, 0..20i32)).prop_map(move |limit| {
        let (min, more) = limit?;
        Some(json!({ "topology": topology, "min": min, "max": min + more }))
    })
}

fn present<T>(all: impl IntoIterator<Item = Option<T>>) -> Vec<T> {
    all.into_iter().flatten().collect()
}

/// Generates names of cells, whether the cells exist or not.
fn cell_name() -> impl Strategy<Value = String> {
    prop_oneof!["c0[0-7]", "c0[0-7]x[0-2]"]
}

fn weights() -> impl Strategy<Value = Value> {
    prop_oneof![
        2 => Just(json!({ "mode": "Even" })),
        1 => Just(json!({ "mode": "Capacity" })),
        1 => prop::collection::btree_map(cell_name(), 0..9i32, 1..9)
            .prop_filter("no weight", |weights| weights.values().any(|weight| *weight > 0))
            .prop_map(|weights| json!({ "mode": "Static", "static": weights })),
    ]
}

fn selectors() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        json!({ "matchLabels": { "fleet.meridian.io/region": "r0" } }),
        json!({ "matchLabels": { "fleet.meridian.io/unit-kind": "R" } }),
        json!({ "matchExpressions": [{ "key": "fleet.meridian.io/zone", "operator": "NotIn", "values": ["z0"] }] }),
    ])
}

/// Generates policies that divide by weights, under limits, shares and tiers, without a spread.
pub(crate) fn plain_policies() -> impl Strategy<Value = PlacementSpec> {
    let limits = (limit("Zone"), limit("Cluster"), limit("Cell"));
    let shares = prop_oneof![3 => Just(BTreeMap::new()), 1 => prop::collection::btree_map(cell_name(), 0..9i32, 1..3)];
    let tiers = prop_oneof![3 => Just(vec![]), 1 => prop::collection::vec(selectors(), 1..3)];
    let cells = prop::option::weighted(0.15, selectors());
    let tolerations = prop::collection::btree_set(0..2u8, 0..3);
    (limits, shares, weights(), tiers, cells, tolerations, prop::bool::ANY).prop_map(
        |(limits, shares, weights, tiers, cells, tolerations, pairs)| {
            let mut value = json!({
                "limits": present([limits.0, limits.1, limits.2]), "shares": shares, "weights": weights,
                "tiers": tiers.into_iter().map(|cells| json!({ "cells": cells })).collect::<Vec<_>>(),
                "tolerations": tolerations.into_iter().map(|key| json!({ "key": format!("t{key}") })).collect::<Vec<_>>(),
                "separatePairs": pairs,
            });
            if let Some(cells) = cells {
                value["cells"] = cells;
            }
            policy(value)
        },
    )
}

/// Generates any policy.
pub(crate) fn policies() -> impl Strategy<Value = PlacementSpec> {
    let percent = prop_oneof![4 => Just(None), 1 => (cell_name(), 0..60i32).prop_map(Some)];
    (plain_policies(), spread("Region"), spread("Zone"), spread("Cluster"), percent).prop_map(
        |(plain, region, zone, cluster, percent)| {
            let mut value = serde_json::to_value(&plain).unwrap();
            value["spread"] = json!(present([region, zone, cluster]));
            if let Some((cell, part)) = percent {
                value["shares"][cell] = json!(format!("{part}%"));
            }
            policy(value)
        },
    )
}

/// Generates directives of operations and people.
pub(crate) fn directive(id: i64) -> impl Strategy<Value = Directive> {
    let target = prop_oneof![
        (0..3u8).prop_map(|region| DirectiveTarget::Region { region: format!("r{region}") }),
        (0..3u8, 0..4u8).prop_map(|(region, zone)| DirectiveTarget::Zone {
            region: format!("r{region}"),
            zone: format!("z{zone}")
        }),
        (0..8usize).prop_map(|cluster| DirectiveTarget::Cluster { cluster: name(cluster) }),
        cell_name().prop_map(|cell| DirectiveTarget::Cell { cell }),
    ];
    let effect = prop_oneof![
        Just(Effect::Exclude),
        Just(Effect::Cordon),
        Just(Effect::Drain),
        (0..9i32).prop_map(|replicas| Effect::Pin { replicas }),
        (0..9i32).prop_map(|replicas| Effect::Min { replicas }),
        (0..9i32).prop_map(|replicas| Effect::Max { replicas }),
        (0..9i32).prop_map(|weight| Effect::Weight { weight }),
    ];
    (target, effect).prop_map(move |(target, effect)| Directive {
        id,
        target,
        app: None,
        effect,
        owner: "somebody".to_owned(),
        reason: "a test".to_owned(),
    })
}

/// Generates a fleet with policy and directives. Shares that cannot be satisfied are dropped.
pub(crate) fn worlds() -> impl Strategy<Value = World> {
    let directives =
        prop_oneof![3 => Just(vec![]).boxed(), 1 => (directive(1), directive(2)).prop_map(|(a, b)| vec![a, b]).boxed()];
    (sites(), policies(), 0..90i32, directives, prop::bool::ANY).prop_map(
        |(sites, spec, replicas, directives, settled)| {
            let mut world = World { directives, settled, ..World::new(sites, spec, replicas) };
            world.accept();
            world
        },
    )
}

impl World {
    /// Drops shares that the spec's own check would refuse.
    pub(crate) fn accept(&mut self) {
        if !check_spec(&self.spec, self.replicas).is_empty() {
            self.spec.shares.clear();
        }
        assert_eq!(check_spec(&self.spec, self.replicas), [], "{:?}", self.spec);
    }
}
