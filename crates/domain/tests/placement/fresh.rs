//! Properties of decisions where nothing is placed yet.

use std::collections::BTreeMap;

use domain::placement::Spread;
use proptest::prelude::*;
use serde_json::json;
use vocabulary::CellName;

use super::fleet::{Placement, Site, World, name, of, plain_policies, policy, site, sites, sum, worlds};
use super::{always, promise};

/// Checks exact sum or named shortfall, hard limits, spread, independence of order, and idempotence.
#[test]
fn a_fresh_decision_keeps_what_every_decision_promises() {
    promise("a_fresh_decision", 3.0, worlds(), |world| always::check(&world, &Placement::new(), &world.fresh()));
}

/// One replica more takes none away from any cell. This is the reason for a divisor method.
#[test]
fn fresh_is_monotone_in_replicas() {
    promise("fresh_is_monotone", 1.0, (sites(), plain_policies(), 0..80i32), |(sites, spec, replicas)| {
        let mut world = World::new(sites, spec, replicas);
        world.accept();
        let fewer = world.fresh();
        world.replicas += 1;
        let more = world.fresh();
        for (cell, target) in &fewer.targets {
            prop_assert!(
                of(&more.targets, cell) >= *target,
                "{cell}: {target} of {replicas}, {} of one more",
                of(&more.targets, cell)
            );
        }
        Ok(())
    });
}

#[test]
fn webster_matches_a_naive_reference() {
    let cases = (prop::collection::vec(1..20i32, 1..8), 0..60i32);
    promise("webster_matches", 2.0, cases, |(weights, replicas)| {
        let sites: Vec<Site> = weights.iter().map(|_| site(0, 0, 1000)).collect();
        let named: BTreeMap<String, i32> = weights.iter().enumerate().map(|(i, weight)| (name(i), *weight)).collect();
        let world = World::new(sites, policy(json!({ "weights": { "mode": "Static", "static": named } })), replicas);
        let outcome = world.fresh();
        let mut seats = vec![0i32; weights.len()];
        for _ in 0..replicas {
            // The cell with the highest weight ÷ (2 × seats + 1) is next. The first among equals wins.
            let key = |i: usize, other: usize| weights[i] * (2 * seats[other] + 1);
            let best = (0..seats.len()).rev().max_by(|a, b| key(*a, *b).cmp(&key(*b, *a))).unwrap();
            seats[best] += 1;
        }
        for (i, expected) in seats.iter().enumerate() {
            let cell: CellName = name(i).parse().unwrap();
            prop_assert_eq!(of(&outcome.targets, &cell), *expected, "{}", i);
        }
        Ok(())
    });
}

/// Compares with every way to fill the zones.
///
/// No way needs fewer replicas. Where no way survives the loss, the spread is reported.
#[test]
fn surviving_a_loss_takes_the_fewest_replicas() {
    let cases = (prop::collection::vec(0..9i64, 2..5), 1..14i32, 1..3usize, prop::bool::ANY);
    promise("surviving_a_loss", 2.0, cases, |(rooms, replicas, losses, hold)| {
        let sites = rooms.iter().enumerate().map(|(zone, room)| site(0, zone as u8, *room)).collect();
        let hold = if hold { "Hold" } else { "BestEffort" };
        let spec = policy(json!({ "spread": [{ "topology": "Zone", "whenUnsatisfiable": hold,
            "surviveLoss": { "domains": losses, "by": "Overprovision" } }] }));
        let outcome = World::new(sites, spec, replicas).fresh();
        let mut fewest: Option<i32> = None;
        let mut fill = vec![0i32; rooms.len()];
        loop {
            let total: i32 = fill.iter().sum();
            if always::left_after_any_loss(&fill, total, losses) >= replicas
                && fewest.is_none_or(|fewest| total < fewest)
            {
                fewest = Some(total);
            }
            let Some(next) = (0..fill.len()).find(|i| i64::from(fill[*i]) < rooms[*i]) else { break };
            fill[next] += 1;
            fill[..next].fill(0);
        }
        match fewest {
            Some(fewest) => {
                prop_assert_eq!((sum(&outcome.targets), outcome.shortfall), (fewest, 0), "{:?}", outcome.targets)
            }
            None if hold == "Hold" => prop_assert!(outcome.hold.is_some() && sum(&outcome.targets) == 0),
            None => {
                prop_assert!(matches!(outcome.spread, Spread::Violated(_)));
                prop_assert!(outcome.shortfall > 0);
                let room: i64 = rooms.iter().sum();
                prop_assert!(
                    i64::from(sum(&outcome.targets)) >= room.min(i64::from(replicas)),
                    "{:?}",
                    outcome.targets
                );
            }
        }
        Ok(())
    });
}
