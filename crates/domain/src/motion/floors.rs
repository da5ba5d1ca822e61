//! Computes floors: how many replicas must stay where they are for now.

use serde::{Deserialize, Serialize};
use vocabulary::rendered_replicas;

/// Decided and observed numbers of one row of the Divided component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowFacts {
    /// Identifies the row to the caller.
    pub id: i64,
    /// Replicas decided for the row.
    pub target: i32,
    /// Minimum number of replicas that the row keeps for now, even above its target.
    pub floor: i32,
    /// Additional replicas for a limited time.
    pub surge: i32,
    /// Available replicas, from a fresh observation of an object that carries the row's current fence.
    ///
    /// `None` without such an observation: the row then counts as having no available replicas, and its own floor
    /// stays.
    pub available: Option<i32>,
    /// Available replicas at the last observation, whatever fence the object carried.
    ///
    /// `None` while the member does not answer, because its replicas are then unknown.
    pub seen: Option<i32>,
    /// Whether an operation holds the row's floor: it may rise and is not lowered.
    pub is_held: bool,
}

impl RowFacts {
    /// Returns the number of replicas that the row asks the member to run.
    pub fn rendered(&self) -> i32 {
        rendered_replicas(self.target, self.floor, self.surge)
    }

    /// Returns the replicas that the member should run and that are not available.
    ///
    /// Members give these replicas up first, and removing them lowers no availability.
    fn broken(&self) -> i64 {
        i64::from(self.seen.map_or(0, |seen| (self.rendered() - seen).max(0)))
    }
}

/// New floor of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FloorChange {
    /// Id of the row, as in [`RowFacts::id`].
    pub id: i64,
    /// Floor from now on. 0 when the target alone is enough.
    pub floor: i32,
}

/// Returns the replicas that can be relied on. Each row counts at most up to its rendered number.
fn available(rows: &[RowFacts]) -> i64 {
    rows.iter().map(|row| i64::from(row.available.unwrap_or(0).min(row.rendered()))).sum()
}

/// Computes the floors to write together with new targets. `rows` carry the old targets and floors.
///
/// Replicas that a row loses stay as its floor, except those that a lower total explains. Only a user's lower
/// `spec.replicas` removes replicas without successors.
///
/// A lower total does not remove at once a replica whose loss would leave fewer available than the new total. Where
/// other replicas are broken or silent, the healthy ones stay.
///
/// `coming` is the number of replicas decided for places that have no row yet. Those replicas were moved, not given
/// up.
///
/// A held floor stays. A lower total still removes the replicas that no floor keeps.
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
            let lowered = row.rendered() - (missed_by_nobody + spared) as i32;
            let kept = if row.is_held && row.floor > row.target { lowered.max(row.floor) } else { lowered };
            FloorChange { id: row.id, floor: if kept > target { kept } else { 0 } }
        })
        .collect()
}

/// Lowers floors by as many replicas as are available beyond the decided total.
///
/// A row's replicas count at most up to its rendered number, so a replica whose removal was already ordered is never
/// spent twice. Rows are lowered in the order given.
///
/// `coming` is the number of replicas decided for places that have no row yet. They are part of the total. A held floor
/// stays, and its replicas count as available.
pub fn lower_floors(rows: &[RowFacts], coming: i64) -> Vec<FloorChange> {
    let wanted: i64 = coming + rows.iter().map(|row| i64::from(row.target)).sum::<i64>();
    let available = available(rows);
    let mut spare = (available - wanted).max(0);
    let mut changes = Vec::new();
    for row in rows {
        // The floor of a row without a fresh observation stays: its object may hold the last healthy replica.
        let held = i64::from(row.floor - row.target);
        if held <= 0 || row.available.is_none() || row.is_held {
            continue;
        }
        // Replicas that are not available go first, and removing them costs nothing.
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
        RowFacts { id, target, floor, surge: 0, available, seen: available, is_held: false }
    }

    fn floors(changes: &[FloorChange]) -> Vec<(i64, i32)> {
        changes.iter().map(|change| (change.id, change.floor)).collect()
    }

    #[test]
    fn drained_cell_keeps_replicas_until_successors_are_available() {
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
    fn held_floors_stay_and_their_replicas_count_as_available() {
        let held = |id, target, floor| RowFacts { is_held: true, ..row(id, target, floor, Some(4)) };
        for (case, rows, expected) in [
            ("successors are available", vec![held(1, 0, 4), row(2, 4, 0, Some(4))], vec![]),
            // Four of the eight available replicas are spare: the row that is not held gives its own up.
            ("another row is not held", vec![held(1, 0, 4), row(2, 0, 4, Some(4)), row(3, 4, 0, None)], vec![(2, 0)]),
        ] {
            assert_eq!(floors(&lower_floors(&rows, 0)), expected, "{case}");
        }
        for (case, first, target, expected) in [
            ("a move begins", held(1, 4, 0), 0, 4),
            ("a lower total takes replicas that no floor keeps", held(1, 4, 0), 2, 0),
            ("a lower total takes none that a floor keeps", held(1, 2, 4), 0, 4),
        ] {
            let rows = [first, row(2, 4, 0, Some(4))];
            let second = if first.target == 4 && target == 0 { 8 } else { 4 };
            let found = floors_after_decision(&rows, 0, |id| if id == 1 { target } else { second });
            assert_eq!(floors(&found)[0], (1, expected), "{case}");
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
        let unseen = |target: i32, seen| RowFacts { seen: Some(seen), ..row(2, target, 0, None) };
        for (rows, targets, expected) in [
            ([row(1, 4, 0, Some(4)), row(2, 4, 0, Some(4))], [3, 2], [(1, 0), (2, 0)]),
            // The other row is silent or broken: five are wanted, and no more are known to be available.
            ([row(1, 4, 0, Some(4)), row(2, 4, 0, None)], [3, 2], [(1, 4), (2, 4)]),
            ([row(1, 4, 0, Some(4)), row(2, 4, 0, Some(0))], [3, 2], [(1, 4), (2, 0)]),
            ([row(1, 4, 0, Some(4)), row(2, 4, 0, None)], [2, 1], [(1, 3), (2, 4)]),
            ([row(1, 4, 0, Some(0)), row(2, 4, 0, Some(0))], [1, 1], [(1, 0), (2, 0)]),
            // The row was raised a moment ago. Replicas that were never observed go; observed ones stay until observed
            // again.
            ([row(1, 4, 0, Some(4)), unseen(9, 4)], [4, 3], [(1, 0), (2, 4)]),
        ] {
            let found = floors_after_decision(&rows, 0, |id| targets[id as usize - 1]);
            assert_eq!(floors(&found), expected, "{rows:?}");
        }
    }

    #[test]
    fn lower_total_during_a_move_keeps_the_floors_of_the_move() {
        let rows = [row(1, 0, 4, Some(4)), row(2, 6, 0, Some(4)), row(3, 6, 0, Some(4))];
        assert_eq!(floors(&floors_after_decision(&rows, 0, |id| [0, 5, 4][id as usize - 1])), [(1, 4), (2, 0), (3, 0)]);
    }

    proptest! {
        /// Moves never take availability below the smaller of its former value and the wanted total.
        ///
        /// Moves, growth and shrinking are random. Members obey slowly and in any order, break, and are sometimes
        /// silent.
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
            // Replicas that run in each member, the number last ordered there, and whether that order is the current
            // plan.
            let mut running = start.clone();
            let mut ordered = start.clone();
            let mut current = vec![true; cells];
            let (mut moves, mut totals) = (moves.into_iter(), totals.into_iter());
            // Minimum number of replicas: the wanted total, as far as it has been reached since the last change.
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
                    ordered[cell] = rows[cell].rendered();
                    current[cell] = true;
                } else {
                    running[cell] += (ordered[cell] - running[cell]).signum();
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
                // Replicas whose removal is ordered were given up already.
                let to_stay = |(i, row): (usize, &RowFacts)| row.rendered() == ordered[i] && running[i] <= ordered[i];
                if there >= wanted && rows.iter().enumerate().all(to_stay) { promised = wanted; }
            }
        }
    }
}
