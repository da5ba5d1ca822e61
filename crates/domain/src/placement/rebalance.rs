//! Computes the placement that a rebalance makes of the current one.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crds::placement_policy::v1alpha1::WeightMode;

use super::groups::{Respect, Seat};
use super::growth::{blocked, grow};
use super::request::Request;
use super::seats::Seating;
use super::setting::Setting;

/// Maximum number of rounds of a rebalance.
///
/// Each round gains something, so there are few. The limit ends an endless loop that a bug would cause.
const ROUNDS: usize = 16;

/// Repeats rounds until a round moves nothing, which is as good as a fresh placement.
///
/// The result has one number for each of `setting.names`. `anew` builds the setting of each round from the seats
/// reached so far. Where more replicas run than fit, each replica that moves away changes how many fit beside it.
pub(super) fn rebalanced<'a>(
    request: &Request<'_>,
    setting: &Setting<'a>,
    wanted: i64,
    anew: impl Fn(&Setting<'a>, &[i64]) -> Setting<'a>,
    hold: &mut Option<String>,
) -> Vec<i64> {
    let mut reached: Option<Setting<'a>> = None;
    for round in 0..ROUNDS {
        let standing = reached.as_ref().unwrap_or(setting);
        let better = better(request, standing, wanted);
        if round == 0 && better.is_none() {
            *hold = Some("no placement of the running replicas would be better".to_owned());
        }
        let Some(better) = better.filter(|better| *better != standing.held) else { break };
        reached = Some(anew(standing, &better));
    }
    let Some(reached) = reached else { return setting.held.clone() };
    let seats: BTreeMap<_, _> = reached.names.iter().zip(reached.held).collect();
    setting.names.iter().map(|name| seats.get(name).copied().unwrap_or(0)).collect()
}

/// Computes one round, or `None` where the result would satisfy less.
///
/// Closed cells that keep their replicas stay as they are. All other cells are filled anew, and every move without a
/// gain is taken back.
fn better(request: &Request<'_>, setting: &Setting<'_>, wanted: i64) -> Option<Vec<i64>> {
    // Capacity weights change with every pod, so only a broken constraint is worth a move.
    let weighed = request.spec.weights.mode != WeightMode::Capacity;
    let cells = if weighed { Cow::Borrowed(&setting.seats) } else { Cow::Owned(unweighed(setting)) };
    let seated = |seats| Seating::new(&cells, &setting.groups, &setting.spread, seats);
    let standing = seated(setting.held.clone());
    let faults = standing.faults(wanted);
    if !weighed && faults == 0 {
        return Some(standing.seats);
    }
    let kept: Vec<i64> = cells.iter().map(|cell| if cell.open || cell.leaving { 0 } else { cell.held }).collect();
    let mut seating = seated(kept.clone());
    grow(&mut seating, wanted, &kept);
    let unsatisfied = seating.uneven(wanted, Respect::Binding).is_some() || blocked(&seating, wanted).is_some();
    let mended = if weighed { seating.faults(wanted) <= faults } else { seating.faults(wanted) < faults };
    if unsatisfied || !seating.enough(wanted) || !mended {
        return None;
    }
    seating.undo_idle_moves(&standing.seats, wanted, weighed);
    Some(seating.seats)
}

/// Replaces capacity weights by equal ones.
///
/// Capacity depends on the placement, so capacity weights would make a rebalance chase its own numbers.
fn unweighed(setting: &Setting<'_>) -> Vec<Seat> {
    let mut cells = setting.seats.clone();
    for (cell, capacity) in cells.iter_mut().zip(&setting.capacity) {
        let barred = cell.weight == 0 && *capacity > 0;
        cell.weight = i64::from(!barred);
    }
    cells
}

/// Returns the number of replicas that a rebalance would move after this decision.
pub(super) fn moves_of_rebalance<'a>(
    request: &Request<'_>,
    setting: &Setting<'a>,
    wanted: i64,
    anew: impl Fn(&Setting<'a>, &[i64]) -> Setting<'a>,
) -> i32 {
    let mut hold = None;
    let best = rebalanced(request, setting, wanted, anew, &mut hold);
    if hold.is_some() {
        return 0;
    }
    setting.held.iter().zip(&best).map(|(now, then)| (now - then).max(0)).sum::<i64>() as i32
}
