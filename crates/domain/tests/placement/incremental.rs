//! Properties of decisions where replicas already run, over random histories.
//!
//! Histories consist of scaling, joining, leaving, draining, silence, changes of capacity, and directives. Each step
//! is decided on the placement of the step before.

use std::collections::BTreeSet;

use crds::placement_policy::v1alpha1::WeightMode;
use domain::placement::{Directive, Outcome};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use vocabulary::{CellName, Verdict};

use super::fleet::{Placement, Site, World, any_site, directive, name, of, standing, sum, worlds};
use super::{always, promise};

/// An event of a history. Clusters are named by number, modulo the number of clusters.
#[derive(Debug, Clone)]
enum Event {
    Scale(i32),
    Join(Site),
    /// The cluster is removed from the fleet: its replicas move first.
    Leave(usize),
    Drain(usize),
    Cordon(usize),
    Uncordon(usize),
    Health(usize, Verdict),
    Room(usize, i64),
    Order(Directive),
    Lift,
    /// Whether the pods of the decided placement run.
    Settle(bool),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..90i32).prop_map(Event::Scale),
        1 => any_site().prop_map(Event::Join),
        1 => (0..32usize).prop_map(Event::Leave),
        2 => (0..32usize).prop_map(Event::Drain),
        1 => (0..32usize).prop_map(Event::Cordon),
        2 => (0..32usize).prop_map(Event::Uncordon),
        2 => (0..32usize, prop::sample::select(vec![Verdict::Pass, Verdict::Fail, Verdict::Unknown])).prop_map(|(i, health)| Event::Health(i, health)),
        1 => (0..32usize, 0..40i64).prop_map(|(i, room)| Event::Room(i, room)),
        1 => directive(9).prop_map(Event::Order),
        1 => Just(Event::Lift),
        1 => prop::bool::ANY.prop_map(Event::Settle),
    ]
}

impl Event {
    fn happen(&self, world: &mut World) {
        let count = world.sites.len();
        match self {
            Self::Scale(replicas) => {
                world.replicas = *replicas;
                world.accept();
            }
            Self::Join(site) => world.sites.push(site.clone()),
            Self::Leave(i) => world.sites[i % count].leaving = true,
            Self::Drain(i) => world.sites[i % count].drain = true,
            Self::Cordon(i) => world.sites[i % count].cordoned = true,
            Self::Uncordon(i) => {
                let site = &mut world.sites[i % count];
                (site.drain, site.cordoned) = (false, false);
            }
            Self::Health(i, health) => world.sites[i % count].health = *health,
            Self::Room(i, room) => {
                for zone in &mut world.sites[i % count].zones {
                    zone.1 = *room;
                }
            }
            Self::Order(directive) => {
                world.directives.retain(|other| other.id != directive.id);
                world.directives.push(directive.clone());
            }
            Self::Lift => world.directives.clear(),
            Self::Settle(settled) => world.settled = *settled,
        }
    }
}

/// A step of a history.
struct Step<'a> {
    event: &'a Event,
    /// The fleet before the event, and its last decision.
    was: &'a World,
    last: &'a Outcome,
    before: &'a Placement,
    world: &'a World,
    outcome: &'a Outcome,
}

/// Plays histories and checks each step.
fn histories(name: &str, share: f64, holds: impl Fn(&Step<'_>) -> Result<(), TestCaseError>) {
    promise(name, share, (worlds(), prop::collection::vec(event(), 1..10)), |(mut world, events)| {
        let mut last = world.fresh();
        for event in &events {
            let (was, before) = (world.clone(), standing(&last));
            event.happen(&mut world);
            world.decided = Some(was.replicas);
            let outcome = world.decide(&before);
            let step = Step { event, was: &was, last: &last, before: &before, world: &world, outcome: &outcome };
            let checked = holds(&step);
            if let Err(TestCaseError::Fail(why)) = checked {
                return Err(TestCaseError::fail(format!(
                    "{why}\nafter {event:?}: {before:?} became {:?}\n{}\n{:?}",
                    outcome.targets, outcome.summary, outcome.notes
                )));
            }
            last = outcome;
        }
        Ok(())
    });
}

fn lowered<'a>(step: &'a Step<'_>) -> impl Iterator<Item = &'a CellName> {
    step.before.iter().filter(|(cell, was)| of(&step.outcome.targets, cell) < **was).map(|(cell, _)| cell)
}

fn raised<'a>(step: &'a Step<'_>) -> impl Iterator<Item = &'a CellName> {
    step.outcome.targets.iter().filter(|(cell, is)| of(step.before, cell) < **is).map(|(cell, _)| cell)
}

/// Returns the cells that replicas have to leave.
fn leaving(outcome: &Outcome) -> BTreeSet<&CellName> {
    outcome.cells.iter().filter(|cell| !cell.eligibility.keeps_running()).map(|cell| &cell.cell).collect()
}

/// Whether all replicas asked for are placed in cells where they may stay.
fn settled(outcome: &Outcome) -> bool {
    let leaving = leaving(outcome);
    outcome.shortfall == 0
        && outcome.hold.is_none()
        && outcome.targets.iter().all(|(cell, number)| *number == 0 || !leaving.contains(cell))
}

#[test]
fn every_step_keeps_what_every_decision_promises() {
    histories("every_step", 1.0, |step| always::check(step.world, step.before, step.outcome));
}

#[test]
fn growing_never_lowers_and_shrinking_never_raises() {
    histories("growing_never_lowers", 1.5, |step| {
        let leaving = leaving(step.outcome);
        if step.world.replicas >= step.was.replicas {
            let wrong = lowered(step).find(|cell| !leaving.contains(cell));
            prop_assert!(wrong.is_none(), "growing lowered {wrong:?}");
        }
        let shrinks = matches!(step.event, Event::Scale(replicas) if *replicas <= step.was.replicas);
        if shrinks && settled(step.last) {
            let wrong = raised(step).next();
            prop_assert!(wrong.is_none(), "shrinking raised {wrong:?}");
        }
        Ok(())
    });
}

#[test]
fn a_joining_or_returning_cluster_receives_only_new_replicas() {
    histories("a_joining_or_returning", 1.5, |step| {
        let returns = matches!(step.event, Event::Join(_) | Event::Uncordon(_) | Event::Health(_, Verdict::Pass));
        if returns && settled(step.last) && step.last.rebalance_needed == 0 {
            prop_assert_eq!(&standing(step.outcome), step.before);
        }
        if returns {
            let wrong = lowered(step).find(|cell| !leaving(step.outcome).contains(cell));
            prop_assert!(wrong.is_none(), "a place more lowered {wrong:?}");
        }
        Ok(())
    });
}

#[test]
fn a_leaving_cluster_moves_only_its_own_and_loses_nothing() {
    histories("a_leaving_cluster", 1.5, |step| {
        let (Event::Leave(which) | Event::Drain(which)) = step.event else { return Ok(()) };
        let its = name(which % step.was.sites.len());
        let gone = leaving(step.last);
        let wrong = lowered(step).find(|cell| !cell.as_str().starts_with(&its) && !gone.contains(cell));
        prop_assert!(wrong.is_none(), "{its} leaves and {wrong:?} was lowered");
        // Replicas that only compensated for a loss of the leaving cluster are not needed elsewhere.
        let enough = step.outcome.shortfall == 0 && step.outcome.hold.is_none();
        let spare = enough && step.world.spec.spread.iter().any(|spread| spread.survive_loss.is_some());
        prop_assert!(spare || sum(&step.outcome.targets) >= sum(step.before), "something was lost");
        Ok(())
    });
}

#[test]
fn a_silent_cluster_keeps_what_it_has() {
    histories("a_silent_cluster", 1.0, |step| {
        if matches!(step.event, Event::Health(_, Verdict::Fail | Verdict::Unknown) | Event::Cordon(_) | Event::Room(..))
        {
            let wrong = lowered(step).find(|cell| !leaving(step.outcome).contains(cell));
            prop_assert!(wrong.is_none(), "{wrong:?} was lowered");
        }
        Ok(())
    });
}

#[test]
fn a_rebalance_moves_nothing_without_a_gain_and_settles_at_once() {
    histories("a_rebalance_moves_nothing", 1.0, |step| {
        let (world, before) = (step.world, standing(step.outcome));
        let better = world.rebalance(&before);
        let after = standing(&better);
        let moves: i32 = before.iter().map(|(cell, was)| (was - of(&after, cell)).max(0)).sum();
        if better.hold.is_some() {
            prop_assert_eq!(&after, &before, "a rebalance that gains nothing moves");
            return Ok(());
        }
        // Once all pods run, the free amounts on nodes may differ from those that the decision used.
        if settled(step.outcome) && !world.settled {
            prop_assert_eq!(step.outcome.rebalance_needed, moves, "what a rebalance would move is told");
        }
        // A rebalance keeps every promise of a decision, except that it moves running replicas.
        let held = step.outcome.cells.iter().find(|cell| {
            !cell.eligibility.is_eligible() && cell.eligibility.keeps_running() && of(&after, &cell.cell) != cell.target
        });
        prop_assert!(held.is_none(), "a closed cell was changed: {held:?}");
        prop_assert!(sum(&after) >= world.replicas.min(sum(&before)), "a rebalance loses replicas");
        let (now, then) =
            (always::violations(world, &before, step.outcome), always::violations(world, &before, &better));
        let bounded = !world.spec.limits.is_empty() || !world.directives.is_empty();
        let far = |violations: &[(String, i32)]| violations.iter().map(|(_, far)| far).sum::<i32>();
        prop_assert!(bounded || far(&then) <= far(&now), "a rebalance breaks {then:?}, before {now:?}");
        if world.spec.weights.mode == WeightMode::Capacity
            && now.is_empty()
            && world.spec.limits.is_empty()
            && world.directives.is_empty()
        {
            prop_assert_eq!(&after, &before, "capacity weights cause moves");
        }
        let again = world.rebalance(&after);
        prop_assert_eq!(&standing(&again), &after, "a rebalanced placement is rebalanced again");
        let next = World { decided: Some(world.replicas), ..world.clone() }.decide(&after);
        prop_assert_eq!((&standing(&next), next.rebalance_needed), (&after, 0), "a decision undoes a rebalance");
        Ok(())
    });
}
