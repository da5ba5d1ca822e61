//! Hands out replicas one at a time until enough are placed. Pure.

use super::groups::Respect;
use super::seats::Seating;

/// Explains how evenness alone keeps replicas from being placed. `None` where that is not the cause.
pub(super) fn blocked(seating: &Seating<'_>, wanted: i64) -> Option<String> {
    (seating.total() < wanted && seating.next(Respect::Binding).is_none() && seating.next(Respect::Nothing).is_some())
        .then(|| {
            let binding = seating.spread.iter().filter(|spread| !spread.best_effort);
            let names: Vec<&str> = binding.map(|spread| spread.name.as_str()).collect();
            let left = wanted - seating.total();
            format!("{left} replicas find no place that keeps {} even", names.join(", "))
        })
}

/// Gives seats until `wanted` is reached or no cell can take a seat.
///
/// A seat above `base` that improved nothing is given back.
pub(super) fn grow(seating: &mut Seating<'_>, wanted: i64, base: &[i64]) {
    let most = wanted.saturating_mul(2 + seating.spread.len() as i64 * 8).max(64);
    while !seating.enough(wanted) && seating.total() < most {
        let Some(cell) = seating.next(Respect::All).or_else(|| seating.next(Respect::Binding)) else { break };
        seating.shift(cell, 1);
    }
    give_back(seating, wanted, base);
}

/// Takes back seats that are not needed, down to `base`.
pub(super) fn give_back(seating: &mut Seating<'_>, wanted: i64, base: &[i64]) {
    while let Some(cell) = seating.previous(wanted, base) {
        seating.shift(cell, -1);
    }
}
