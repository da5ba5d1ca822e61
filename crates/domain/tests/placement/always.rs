//! Properties of every decision, computed anew from the fleet and the numbers alone.

use std::collections::{BTreeMap, BTreeSet};

use crds::placement_policy::v1alpha1::Topology as Level;
use domain::placement::{Effect, Outcome, Spread};
use domain::topology::CellFacts;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use vocabulary::CellName;

use super::fleet::{Placement, World, in_zone, of, standing, sum};

type Checked = Result<(), TestCaseError>;

/// Checks all properties of a decision that do not depend on earlier decisions.
pub(crate) fn check(world: &World, before: &Placement, outcome: &Outcome) -> Checked {
    exact_sum_or_named_shortfall(world, outcome)?;
    hard_limits_hold(world, before, outcome)?;
    only_eligible_cells_gain(before, outcome)?;
    spread_is_satisfied_or_reported(world, before, outcome)?;
    nothing_to_choose_from_holds_what_is_placed(world, before, outcome)?;
    independent_of_order_and_idempotent(world, before, outcome)
}

/// Number of units in a replica.
///
/// A cluster has at most three zones, so even parts of a replica are whole units.
const PARTS: i32 = 6;

/// Replicas in a domain, of cells that may take replicas or held some.
#[derive(Debug, Default)]
struct Domain {
    /// Replicas divided evenly, in units of a sixth of a replica.
    even: i32,
    /// Maximum number of replicas, wherever odd replicas lie.
    most: i32,
    least: i32,
    open: bool,
}

/// Returns the domains of a level with their replicas.
///
/// Cells over zones divide their replicas evenly over the zones.
fn domains(world: &World, before: &Placement, outcome: &Outcome, level: Level) -> BTreeMap<String, Domain> {
    let topology = world.topology(before, false);
    let mut domains: BTreeMap<String, Domain> = BTreeMap::new();
    for cell in &outcome.cells {
        let open = cell.eligibility.is_eligible();
        if !open && cell.before == 0 {
            continue;
        }
        let keys = domain(level, &topology.cells[&cell.cell]);
        let parts = keys.len() as i32;
        for key in keys {
            let entry = domains.entry(key).or_default();
            entry.even += cell.target * PARTS / parts;
            entry.most += (cell.target + parts - 1) / parts;
            entry.least += cell.target / parts;
            entry.open |= open;
        }
    }
    domains
}

fn domain(level: Level, cell: &CellFacts) -> Vec<String> {
    match level {
        Level::Region => vec![cell.region.clone()],
        Level::Zone => cell.zones.iter().map(|zone| format!("{}/{zone}", cell.region)).collect(),
        Level::Cluster => vec![cell.cluster.to_string()],
        Level::Cell => vec![cell.name.to_string()],
    }
}

/// Counts the domains that hold replicas.
///
/// These are the domains that certainly hold replicas. A cell with fewer replicas than zones adds as many domains as
/// it has replicas, less those that another cell may hold.
fn used_domains(world: &World, before: &Placement, outcome: &Outcome, level: Level) -> i32 {
    let topology = world.topology(before, false);
    let domains = domains(world, before, outcome, level);
    let mut held: BTreeSet<String> =
        domains.iter().filter(|(_, domain)| domain.least > 0).map(|(key, _)| key.clone()).collect();
    let mut used = held.len() as i32;
    let mut sparse: Vec<(i32, Vec<String>)> = outcome
        .cells
        .iter()
        .map(|cell| (cell.target, domain(level, &topology.cells[&cell.cell])))
        .filter(|(target, keys)| *target > 0 && *target < keys.len() as i32)
        .collect();
    sparse.sort_by_key(|(target, _)| -target);
    for (target, keys) in sparse {
        used += (target - keys.iter().filter(|key| held.contains(*key)).count() as i32).max(0);
        held.extend(keys);
    }
    used
}

/// Returns the replicas that remain after the worst loss of `losses` domains. Every loss is tried.
pub(crate) fn left_after_any_loss(domains: &[i32], total: i32, losses: usize) -> i32 {
    fn worst(domains: &[i32], losses: usize) -> i32 {
        if losses == 0 {
            return 0;
        }
        (0..domains.len()).map(|i| domains[i] + worst(&domains[i + 1..], losses - 1)).max().unwrap_or(0)
    }
    (total - worst(domains, losses)).max(0)
}

fn exact_sum_or_named_shortfall(world: &World, outcome: &Outcome) -> Checked {
    let placed = sum(&outcome.targets);
    prop_assert_eq!(placed + outcome.shortfall, outcome.wanted);
    prop_assert_eq!(outcome.shortfall > 0, outcome.summary.contains("found no place"));
    let survives = world.spec.spread.iter().any(|spread| spread.survive_loss.is_some());
    if !survives || world.replicas == 0 {
        prop_assert_eq!(placed + outcome.shortfall, world.replicas);
    } else {
        prop_assert!(placed + outcome.shortfall >= world.replicas);
    }
    Ok(())
}

fn hard_limits_hold(world: &World, before: &Placement, outcome: &Outcome) -> Checked {
    let after = &outcome.targets;
    let topology = world.topology(before, false);
    for (i, site) in world.sites.iter().enumerate() {
        let whole = |placed: &Placement| (0..site.zones.len()).map(|zone| in_zone(i, site, zone, placed)).sum::<i64>();
        let room: i64 = site.zones.iter().map(|(_, room)| room).sum();
        prop_assert!(whole(after) <= room.max(whole(before)), "capacity of {i}: {room}, {before:?} {after:?}");
        for (zone, (_, room)) in site.zones.iter().enumerate() {
            let declared: Vec<CellName> = topology
                .cells
                .values()
                .filter(|cell| cell.declared && cell.cluster.as_str() == super::fleet::name(i))
                .filter(|cell| cell.zones == [format!("z{}", site.zones[zone].0)])
                .map(|cell| cell.name.clone())
                .collect();
            let there = |placed: &Placement| declared.iter().map(|cell| i64::from(of(placed, cell))).sum::<i64>();
            prop_assert!(there(after) <= (*room).max(there(before)), "capacity of {i} in zone {zone}");
        }
    }
    let bound = |name: String, max: i32, covers: &dyn Fn(&CellFacts) -> bool| {
        let cells: Vec<&CellFacts> = topology.cells.values().filter(|cell| covers(cell)).collect();
        let there = |placed: &Placement| cells.iter().map(|cell| of(placed, &cell.name)).sum::<i32>();
        prop_assert!(there(after) <= max.max(there(before)), "{name}: {max}, {before:?} {after:?}");
        Ok(())
    };
    for limit in &world.spec.limits {
        let Some(max) = limit.max else { continue };
        let keys: BTreeSet<String> = topology.cells.values().flat_map(|cell| domain(limit.topology, cell)).collect();
        for key in keys {
            // The limit must hold wherever odd replicas lie.
            let most = |placed: &Placement| -> i32 {
                let part = |cell: &CellFacts| {
                    let keys = domain(limit.topology, cell);
                    let parts = keys.len() as i32;
                    if keys.contains(&key) { (of(placed, &cell.name) + parts - 1) / parts } else { 0 }
                };
                topology.cells.values().map(part).sum()
            };
            prop_assert!(most(after) <= max.max(most(before)), "{limit:?} of {key}: {before:?} {after:?}");
        }
    }
    for directive in &world.directives {
        if let Effect::Pin { replicas: max } | Effect::Max { replicas: max } = directive.effect {
            bound(format!("{directive:?}"), max, &|cell| directive.target.covers(cell))?;
        }
    }
    if world.spec.separate_pairs {
        for cell in topology.cells.values().filter(|cell| of(after, &cell.name) > of(before, &cell.name)) {
            let other = topology.cells.values().find(|other| {
                cell.unit.is_some() && other.unit == cell.unit && (&other.region, &other.zones) == (&cell.region, &cell.zones)
                    && other.pair.is_some() && cell.pair.is_some() && other.pair != cell.pair && of(after, &other.name) > 0
                    // A half that waits to leave does not count.
                    && outcome.cells.iter().any(|there| there.cell == other.name && there.eligibility.keeps_running())
            });
            prop_assert!(other.is_none(), "{} takes replicas beside its other half {other:?}", cell.name);
        }
    }
    Ok(())
}

fn only_eligible_cells_gain(before: &Placement, outcome: &Outcome) -> Checked {
    for cell in outcome.cells.iter().filter(|cell| !cell.eligibility.is_eligible()) {
        prop_assert!(cell.target <= of(before, &cell.cell), "{cell:?}");
    }
    Ok(())
}

/// Returns the constraints that do not hold, and how far, by brute force.
pub(crate) fn violations(world: &World, before: &Placement, outcome: &Outcome) -> Vec<(String, i32)> {
    let mut found = Vec::new();
    for (i, spread) in world.spec.spread.iter().enumerate() {
        let domains = domains(world, before, outcome, spread.topology);
        let largest = domains.values().map(|domain| domain.even).max().unwrap_or(0);
        let smallest = domains.values().filter(|domain| domain.open).map(|domain| domain.even).min().unwrap_or(largest);
        if let Some(over) = spread.max_skew.map(|skew| largest - smallest - skew * PARTS).filter(|over| *over > 0) {
            found.push((format!("spread[{i}].maxSkew"), (over + PARTS - 1) / PARTS));
        }
        let used = used_domains(world, before, outcome, spread.topology);
        let placed = sum(&outcome.targets).max(world.replicas.min(1));
        if let Some(missing) = spread.min_domains.map(|min| min.min(placed) - used).filter(|missing| *missing > 0) {
            found.push((format!("spread[{i}].minDomains"), missing));
        }
        if let Some(survive) = spread.survive_loss.as_ref().filter(|_| world.replicas > 0) {
            // Wherever odd replicas lie, the lost zones hold as many of them as they may.
            let most: Vec<i32> = domains.values().map(|domain| domain.most).collect();
            let all: i32 = domains.values().map(|domain| domain.even).sum::<i32>() / PARTS;
            let left = left_after_any_loss(&most, all, survive.domains as usize);
            if left < world.replicas {
                found.push((format!("spread[{i}].surviveLoss"), world.replicas - left));
            }
        }
    }
    found
}

fn spread_is_satisfied_or_reported(world: &World, before: &Placement, outcome: &Outcome) -> Checked {
    let violations = violations(world, before, outcome);
    match &outcome.spread {
        Spread::NotAsked => prop_assert!(world.spec.spread.is_empty()),
        Spread::Satisfied => prop_assert!(violations.is_empty(), "{violations:?} of {outcome:?}"),
        // When nothing is placed at all, the outcome reports the reason for that instead of the violated constraint.
        Spread::Violated(why) => {
            prop_assert!(!violations.is_empty() || outcome.hold.is_some() && sum(&outcome.targets) == 0, "{why}");
        }
    }
    Ok(())
}

fn nothing_to_choose_from_holds_what_is_placed(world: &World, before: &Placement, outcome: &Outcome) -> Checked {
    if outcome.cells.iter().all(|cell| !cell.eligibility.is_eligible()) && world.replicas >= sum(before) {
        prop_assert_eq!(&standing(outcome), before);
    }
    Ok(())
}

fn independent_of_order_and_idempotent(world: &World, before: &Placement, outcome: &Outcome) -> Checked {
    prop_assert_eq!(outcome, &world.decide_turned(before), "the order of inputs decides");
    let after = standing(outcome);
    // The number asked for is now the number that the placement was decided for.
    let again = World { decided: Some(world.replicas), ..world.clone() }.decide(&after);
    prop_assert_eq!(&after, &standing(&again), "deciding again moves: {} then {}", outcome.summary, again.summary);
    Ok(())
}
