//! Floors: how many replicas must stay where they are, for now.

use serde::{Deserialize, Serialize};
use vocabulary::rendered_replicas;

/// What is decided and known of one row of the Divided component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowFacts {
    /// Identifies the row to the caller.
    pub id: i64,
    /// Replicas decided.
    pub target: i32,
    /// Replicas that may not be gone below yet.
    pub floor: i32,
    /// Replicas on top, for a time.
    pub surge: i32,
    /// Available replicas observed on an object that carries the row's current fence, by facts that are fresh.
    /// `None` when there is no such observation: it counts as nothing, and the row's own floor stays.
    pub available: Option<i32>,
    /// Replicas available when the member was looked at last, whatever fence the object carried; it answers now.
    /// `None` when it does not: what runs there is unknown.
    pub seen: Option<i32>,
}

impl RowFacts {
    /// Replicas the member is told to run.
    pub fn rendered(&self) -> i32 {
        rendered_replicas(self.target, self.floor, self.surge)
    }

    /// Replicas told that are not available: members give these up first, and nobody misses them.
    fn broken(&self) -> i64 {
        i64::from(self.seen.map_or(0, |seen| (self.rendered() - seen).max(0)))
    }
}

/// New floor of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FloorChange {
    /// Row.
    pub id: i64,
    /// Its floor from now on.
    pub floor: i32,
}

/// Replicas that may be counted on: per row at most what it is told to run.
fn available(rows: &[RowFacts]) -> i64 {
    rows.iter().map(|row| i64::from(row.available.unwrap_or(0).min(row.rendered()))).sum()
}

/// Floors to write together with new targets. `rows` carry the old targets and floors.
///
/// Replicas that a row loses stay as floor, except those that a lower total explains: only a person's lower
/// `spec.replicas` removes replicas without successors. Even that takes no replica away at once without which fewer would
/// be available than are wanted from now on: where others are broken or silent, the healthy ones stay. `coming` are
/// replicas decided for places that have no row yet: they were moved, not given up.
pub fn floors_after_decision(rows: &[RowFacts], coming: i64, new_target: impl Fn(i64) -> i32) -> Vec<FloorChange> {
    let before: i64 = rows.iter().map(|row| i64::from(row.target)).sum();
    let after: i64 = coming + rows.iter().map(|row| i64::from(new_target(row.id))).sum::<i64>();
    let mut explained = (before - after).max(0);
    let mut spare = (available(rows) - after).max(0);
    rows.iter()
        .map(|row| {
            let target = new_target(row.id);
            let own_decrease = i64::from((row.target - target).max(0));
            let given_up = own_decrease.min(explained);
            explained -= given_up;
            let missed_by_nobody = given_up.min(row.broken());
            let spared = (given_up - missed_by_nobody).min(spare);
            spare -= spared;
            let kept = row.rendered() - (missed_by_nobody + spared) as i32;
            FloorChange { id: row.id, floor: if kept > target { kept } else { 0 } }
        })
        .collect()
}

/// Floors that may be lowered now: as many replicas in all as are available beyond the decided total.
///
/// A row's replicas count at most up to what it is told to run, so a replica whose removal was ordered already
/// is never spent twice. Rows are lowered in the order given. `coming` are replicas decided for places that have no row
/// yet; they are part of the total.
pub fn lower_floors(rows: &[RowFacts], coming: i64) -> Vec<FloorChange> {
    let wanted: i64 = coming + rows.iter().map(|row| i64::from(row.target)).sum::<i64>();
    let available = available(rows);
    let mut spare = (available - wanted).max(0);
    let mut changes = Vec::new();
    for row in rows {
        // An object without a fresh observation is not touched: the silence may hide the last healthy copy.
        let held = i64::from(row.floor - row.target);
        if held <= 0 || row.available.is_none() {
            continue;
        }
        // Replicas that are not available anyway go first, and cost nothing.
        let broken = i64::from((row.rendered() - row.available.unwrap_or(0)).max(0)).min(held);
        let free = if spare > 0 || wanted <= available { broken } else { 0 };
        let step = (free + spare.min(held - free)).min(held);
        if step == 0 {
            continue;
        }
        spare -= step - free;
        let floor = row.floor - step as i32;
        changes.push(FloorChange { id: row.id, floor: if floor > row.target { floor } else { 0 } });
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row(id: i64, target: i32, floor: i32, available: Option<i32>) -> RowFacts {
        RowFacts { id, target, floor, surge: 0, available, seen: available }
    }

    fn floors(changes: &[FloorChange]) -> Vec<(i64, i32)> {
        changes.iter().map(|change| (change.id, change.floor)).collect()
    }

    #[test]
    fn a_drained_cell_keeps_its_replicas_until_successors_are_available() {
        let rows = [row(1, 4, 0, Some(4)), row(2, 4, 0, Some(4)), row(3, 4, 0, Some(4))];
        let targets = |id| [0, 6, 6][id as usize - 1];
        assert_eq!(floors(&floors_after_decision(&rows, 0, targets)), [(1, 4), (2, 0), (3, 0)]);
        for (available, expected) in [
            ([Some(4), Some(4), Some(4)], vec![]),
            ([Some(4), Some(5), Some(4)], vec![(1, 3)]),
            ([Some(4), Some(6), Some(6)], vec![(1, 0)]),
            ([None, Some(6), Some(6)], vec![]),
            ([Some(4), Some(6), None], vec![]),
        ] {
            let rows: Vec<_> = (1..=3)
                .map(|id| row(id, targets(id), if id == 1 { 4 } else { 0 }, available[id as usize - 1]))
                .collect();
            assert_eq!(floors(&lower_floors(&rows, 0)), expected, "{available:?}");
        }
    }

    #[test]
    fn replicas_moved_to_a_place_without_a_row_are_not_given_up() {
        let rows = [row(1, 5, 0, Some(5)), row(2, 4, 0, Some(4))];
        assert_eq!(floors(&floors_after_decision(&rows, 3, |_| 3)), [(1, 5), (2, 4)]);
        let rows = [row(1, 3, 5, Some(5)), row(2, 3, 4, Some(4))];
        assert_eq!(floors(&lower_floors(&rows, 3)), []);
    }

    #[test]
    fn a_lower_total_lowers_at_once_what_is_not_needed_for_it() {
        let unseen = |told: i32, seen| RowFacts { seen: Some(seen), ..row(2, told, 0, None) };
        for (rows, targets, expected) in [
            ([row(1, 4, 0, Some(4)), row(2, 4, 0, Some(4))], [3, 2], [(1, 0), (2, 0)]),
            // The other one is silent, or broken: five are wanted, and not more are known to be well.
            ([row(1, 4, 0, Some(4)), row(2, 4, 0, None)], [3, 2], [(1, 4), (2, 4)]),
            ([row(1, 4, 0, Some(4)), row(2, 4, 0, Some(0))], [3, 2], [(1, 4), (2, 0)]),
            ([row(1, 4, 0, Some(4)), row(2, 4, 0, None)], [2, 1], [(1, 3), (2, 4)]),
            ([row(1, 4, 0, Some(0)), row(2, 4, 0, Some(0))], [1, 1], [(1, 0), (2, 0)]),
            // Told more a moment ago: what was not seen yet goes, what was seen stays until it is seen again.
            ([row(1, 4, 0, Some(4)), unseen(9, 4)], [4, 3], [(1, 0), (2, 4)]),
        ] {
            let found = floors_after_decision(&rows, 0, |id| targets[id as usize - 1]);
            assert_eq!(floors(&found), expected, "{rows:?}");
        }
    }

    #[test]
    fn a_lower_total_in_the_middle_of_a_move_does_not_spend_what_the_move_holds() {
        let rows = [row(1, 0, 4, Some(4)), row(2, 6, 0, Some(4)), row(3, 6, 0, Some(4))];
        assert_eq!(floors(&floors_after_decision(&rows, 0, |id| [0, 5, 4][id as usize - 1])), [(1, 4), (2, 0), (3, 0)]);
    }

    proptest! {
        /// Random moves, growth and shrinking over members that obey slowly and in any order, break, and are sometimes
        /// silent: what is available falls by itself or not at all below the smaller of what was available before and
        /// what is wanted.
        #[test]
        fn raise_before_lower_never_falls_below_the_total(
            start in prop::collection::vec(0i32..8, 2..6),
            moves in prop::collection::vec((0usize..6, 0usize..6, 1i32..4), 1..6),
            totals in prop::collection::vec((0usize..6, -4i32..4), 0..6),
            steps in prop::collection::vec((0usize..6, any::<bool>(), any::<bool>()), 10..120),
        ) {
            let cells = start.len();
            let mut rows: Vec<RowFacts> =
                start.iter().enumerate().map(|(i, n)| row(i as i64, *n, 0, Some(*n))).collect();
            // What runs in each member, what it was last told, and whether that is the current plan.
            let mut running = start.clone();
            let mut told = start.clone();
            let mut current = vec![true; cells];
            let (mut moves, mut totals) = (moves.into_iter(), totals.into_iter());
            // What must be there: what is wanted, as far as it was once reached since.
            let mut promised: i32 = start.iter().sum();
            for (n, (cell, obey, known)) in steps.into_iter().enumerate() {
                let cell = cell % cells;
                let mut targets: Vec<i32> = rows.iter().map(|row| row.target).collect();
                if n % 7 == 0 && let Some((from, to, count)) = moves.next() {
                    let (from, to) = (from % cells, to % cells);
                    let count = count.min(rows[from].target);
                    targets[from] -= count;
                    targets[to] += count;
                }
                if n % 5 == 0 && let Some((cell, more)) = totals.next() {
                    let target = &mut targets[cell % cells];
                    *target = (*target + more).max(0);
                }
                if rows.iter().zip(&targets).any(|(row, target)| row.target != *target) {
                    for change in floors_after_decision(&rows, 0, |id| targets[id as usize]) {
                        let row = &mut rows[change.id as usize];
                        let changed = row.target != targets[change.id as usize] || row.floor != change.floor;
                        row.target = targets[change.id as usize];
                        row.floor = change.floor;
                        if changed { current[change.id as usize] = false; }
                    }
                    promised = promised.min(targets.iter().sum());
                }
                if obey {
                    told[cell] = rows[cell].rendered();
                    current[cell] = true;
                } else {
                    running[cell] += (told[cell] - running[cell]).signum();
                }
                for (i, row) in rows.iter_mut().enumerate() {
                    row.seen = (known || i != cell).then_some(running[i]);
                    row.available = row.seen.filter(|_| current[i]);
                }
                for change in lower_floors(&rows, 0) {
                    rows[change.id as usize].floor = change.floor;
                    current[change.id as usize] = false;
                }
                let (wanted, there) = (rows.iter().map(|row| row.target).sum::<i32>(), running.iter().sum::<i32>());
                prop_assert!(there >= promised, "{running:?}, {promised} promised: {rows:?}");
                // What is ordered to go was given up already.
                let to_stay = |(i, row): (usize, &RowFacts)| row.rendered() == told[i] && running[i] <= told[i];
                if there >= wanted && rows.iter().enumerate().all(to_stay) { promised = wanted; }
            }
        }
    }
}
