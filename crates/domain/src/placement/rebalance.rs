//! What a rebalance makes of a placement.

use crds::placement_policy::v1alpha1::WeightMode;

use super::decide::{blocked, grow};
use super::request::Request;
use super::seats::{Respect, Seat, Seating};
use super::setting::Setting;

/// Rounds of a rebalance. Each one gains, so there are few; a limit keeps a mistake from going on for ever.
const ROUNDS: usize = 16;

/// As good as a fresh placement: what is reached when no further round moves anything.
pub(super) fn rebalanced<'a>(
    request: &Request<'_>,
    setting: &'a Setting<'_>,
    wanted: i64,
    hold: &mut Option<String>,
) -> Seating<'a> {
    // Weights by capacity change with every pod: only a broken constraint is worth a move.
    let weighed = request.spec.weights.mode != WeightMode::Capacity;
    let mut cells = setting.seats.clone();
    if !weighed {
        // They depend on what is placed, so they must not steer a rebalance either: it would chase its own numbers.
        for (cell, capacity) in cells.iter_mut().zip(&setting.capacity) {
            let barred = cell.weight == 0 && *capacity > 0;
            cell.weight = i64::from(!barred);
        }
    }
    for round in 0..ROUNDS {
        let held: Vec<i64> = cells.iter().map(|cell| cell.held).collect();
        let better = better(&cells, setting, wanted, weighed);
        if round == 0 && better.is_none() {
            *hold = Some("no placement of the running replicas would be better".to_owned());
        }
        let Some(better) = better.filter(|better| *better != held) else { break };
        for (cell, seats) in cells.iter_mut().zip(better) {
            cell.held = seats;
        }
    }
    let seats = cells.iter().map(|cell| cell.held).collect();
    Seating::new(&setting.seats, &setting.groups, &setting.spread, seats)
}

/// One round: cells that are closed but keep what they have stay as they are, all others are filled anew, and every
/// move without a gain is taken back. Nothing where that satisfies less.
fn better(cells: &[Seat], setting: &Setting<'_>, wanted: i64, weighed: bool) -> Option<Vec<i64>> {
    let seated = |seats| Seating::new(cells, &setting.groups, &setting.spread, seats);
    let standing = seated(cells.iter().map(|cell| cell.held).collect());
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

/// Replicas a rebalance would move once the decision is in force.
pub(super) fn moves_of_rebalance(
    request: &Request<'_>,
    setting: &Setting<'_>,
    standing: &Seating<'_>,
    wanted: i64,
) -> i32 {
    let mut hold = None;
    let best = rebalanced(request, setting, wanted, &mut hold);
    if standing.total() == 0 || hold.is_some() {
        return 0;
    }
    standing.seats.iter().zip(&best.seats).map(|(now, then)| (now - then).max(0)).sum::<i64>() as i32
}
