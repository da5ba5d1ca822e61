//! What a rebalance makes of a placement.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crds::placement_policy::v1alpha1::WeightMode;

use super::decide::{blocked, grow};
use super::request::Request;
use super::seats::{Respect, Seat, Seating};
use super::setting::Setting;

/// Rounds of a rebalance. Each one gains, so there are few; a limit keeps a mistake from going on for ever.
const ROUNDS: usize = 16;

/// As good as a fresh placement: what is reached when no further round moves anything. Seats run in parallel to the
/// names of `setting`.
///
/// Every round is decided by what `anew` makes of the seats so far: where more runs than fits, each replica that moves
/// away changes how much fits beside it.
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

/// One round: cells that are closed but keep what they have stay as they are, all others are filled anew, and every
/// move without a gain is taken back. Nothing where that satisfies less.
fn better(request: &Request<'_>, setting: &Setting<'_>, wanted: i64) -> Option<Vec<i64>> {
    // Weights by capacity change with every pod: only a broken constraint is worth a move.
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

/// Capacity depends on what is placed, so it must not steer a rebalance: it would chase its own numbers.
fn unweighed(setting: &Setting<'_>) -> Vec<Seat> {
    let mut cells = setting.seats.clone();
    for (cell, capacity) in cells.iter_mut().zip(&setting.capacity) {
        let barred = cell.weight == 0 && *capacity > 0;
        cell.weight = i64::from(!barred);
    }
    cells
}

/// Replicas a rebalance would move once the decision is in force.
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
