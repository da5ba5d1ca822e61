//! Floors: how many replicas must stay where they are, for now.

use serde::{Deserialize, Serialize};

/// What is decided and known of one row of the Divided component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowFacts {
    /// Identifies the row to the caller.
    pub id: i64,
    /// Replicas decided.
    pub target: i32,
    /// Replicas that may not be gone below yet.
    pub floor: i32,
    /// Available replicas observed on an object that carries the row's current fence, by facts that are fresh.
    /// `None` when there is no such observation: it counts as nothing, and the row's own floor stays.
    pub available: Option<i32>,
}

impl RowFacts {
    /// Replicas the member is told to run.
    pub fn rendered(&self) -> i32 {
        self.target.max(self.floor)
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

/// Floors to write together with new targets. `rows` carry the old targets and floors.
///
/// Replicas that a row loses stay as floor, except those that a lower total explains: only a person's lower
/// `spec.replicas` removes replicas without successors. `coming` are replicas decided for places that have no row yet:
/// they were moved, not given up.
pub fn floors_after_decision(rows: &[RowFacts], coming: i64, new_target: impl Fn(i64) -> i32) -> Vec<FloorChange> {
    let before: i64 = rows.iter().map(|row| i64::from(row.target)).sum();
    let after: i64 = coming + rows.iter().map(|row| i64::from(new_target(row.id))).sum::<i64>();
    let mut explained = (before - after).max(0);
    rows.iter()
        .map(|row| {
            let target = new_target(row.id);
            let own_decrease = i64::from((row.target - target).max(0));
            let at_once = own_decrease.min(explained);
            explained -= at_once;
            let kept = row.rendered() - at_once as i32;
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
    let available: i64 = rows.iter().map(|row| i64::from(row.available.unwrap_or(0).min(row.rendered()))).sum();
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
        RowFacts { id, target, floor, available }
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
    fn a_lower_total_lowers_at_once() {
        let rows = [row(1, 4, 0, Some(4)), row(2, 4, 0, None)];
        assert_eq!(floors(&floors_after_decision(&rows, 0, |id| [3, 2][id as usize - 1])), [(1, 0), (2, 0)]);
    }

    #[test]
    fn a_lower_total_in_the_middle_of_a_move_does_not_spend_what_the_move_holds() {
        let rows = [row(1, 0, 4, Some(4)), row(2, 6, 0, Some(4)), row(3, 6, 0, Some(4))];
        assert_eq!(floors(&floors_after_decision(&rows, 0, |id| [0, 5, 4][id as usize - 1])), [(1, 4), (2, 0), (3, 0)]);
    }

    proptest! {
        /// Random decisions over members that obey slowly and in any order, with facts that are sometimes missing:
        /// what is available never falls below the smaller of what was available before and the decided total.
        #[test]
        fn raise_before_lower_never_falls_below_the_total(
            start in prop::collection::vec(0i32..8, 2..6),
            moves in prop::collection::vec((0usize..6, 0usize..6, 1i32..4), 1..6),
            steps in prop::collection::vec((0usize..6, any::<bool>(), any::<bool>()), 10..120),
        ) {
            let cells = start.len();
            let total: i32 = start.iter().sum();
            let mut rows: Vec<RowFacts> =
                start.iter().enumerate().map(|(i, n)| row(i as i64, *n, 0, Some(*n))).collect();
            // What runs in each member, what it was last told, and whether that is the current plan.
            let mut running = start.clone();
            let mut told = start.clone();
            let mut current = vec![true; cells];
            let mut moves = moves.into_iter();
            for (n, (cell, obey, known)) in steps.into_iter().enumerate() {
                let cell = cell % cells;
                if n % 7 == 0 && let Some((from, to, count)) = moves.next() {
                    let (from, to) = (from % cells, to % cells);
                    let count = count.min(rows[from].target);
                    let mut targets: Vec<i32> = rows.iter().map(|row| row.target).collect();
                    targets[from] -= count;
                    targets[to] += count;
                    let floors = floors_after_decision(&rows, 0, |id| targets[id as usize]);
                    for change in floors {
                        let row = &mut rows[change.id as usize];
                        let changed = row.target != targets[change.id as usize] || row.floor != change.floor;
                        row.target = targets[change.id as usize];
                        row.floor = change.floor;
                        if changed { current[change.id as usize] = false; }
                    }
                }
                if obey {
                    told[cell] = rows[cell].rendered();
                    current[cell] = true;
                } else {
                    running[cell] += (told[cell] - running[cell]).signum();
                }
                for (i, row) in rows.iter_mut().enumerate() {
                    row.available = (current[i] && (known || i != cell)).then_some(running[i]);
                }
                for change in lower_floors(&rows, 0) {
                    rows[change.id as usize].floor = change.floor;
                    current[change.id as usize] = false;
                }
                let floor_of_promise: i32 = rows.iter().map(|row| row.target).sum();
                prop_assert_eq!(floor_of_promise, total);
                prop_assert!(running.iter().sum::<i32>() >= total, "{running:?} of {total}: {rows:?}");
            }
        }
    }
}
