//! Decides whether moving a seat gains anything.

use std::cmp::Ordering;

use super::groups::Seat;
use super::seats::Seating;

impl Seating<'_> {
    /// Returns the distance of all bounds and spread constraints from holding; 0 when all of them hold.
    ///
    /// Only bounds that moving a seat could mend are counted.
    pub(crate) fn faults(&self, wanted: i64) -> i64 {
        let bounds = self.groups.iter().enumerate().map(|(index, group)| {
            let sum = self.sum(index);
            let missing = if group.open { (group.min - sum.least).max(0) } else { 0 };
            (sum.most - group.max).max(0) + missing
        });
        let spreads = self.spread.iter().map(|spread| {
            let state = self.state(spread, wanted);
            state.skew_over + state.domains_missing + state.survivors_missing
        });
        bounds.chain(spreads).sum()
    }

    /// Takes back, one by one, moves that gain nothing because the seat was as good in its old cell.
    ///
    /// `weighed` is true where a better match with weights is worth a move.
    pub(crate) fn undo_idle_moves(&mut self, before: &[i64], wanted: i64, weighed: bool) {
        while let Some((from, to)) = self.idle_move(before, wanted, weighed) {
            self.shift(from, -1);
            self.shift(to, 1);
        }
    }

    fn idle_move(&self, before: &[i64], wanted: i64, weighed: bool) -> Option<(usize, usize)> {
        let moved =
            |sign: i64| (0..self.cells.len()).filter(move |cell| (self.seats[*cell] - before[*cell]).signum() == sign);
        let faults = self.faults(wanted);
        let mut after = self.clone();
        for from in moved(1) {
            for to in moved(-1).filter(|to| self.cells[*to].open && !self.is_better(from, *to, weighed)) {
                after.shift(from, -1);
                after.shift(to, 1);
                let no_worse = after.faults(wanted) <= faults && after.survivors() >= self.survivors().min(wanted);
                after.shift(to, -1);
                after.shift(from, 1);
                if no_worse {
                    return Some((from, to));
                }
            }
        }
        None
    }

    /// Whether a seat in `here` would be worse in `there`: by shares, then tiers, then weights.
    fn is_better(&self, here: usize, there: usize, weighed: bool) -> bool {
        let (a, b) = (&self.cells[here], &self.cells[there]);
        // A seat within a share comes first, then a seat without a share, then a seat above a share.
        let rank = |share: Option<i64>, seats: i64| match share {
            Some(share) if seats <= share => 0,
            None => 1,
            Some(_) => 2,
        };
        let key = |cell: &Seat, seats: i64| (rank(cell.share, seats), cell.weight <= 0, cell.tier);
        match key(a, self.seats[here]).cmp(&key(b, self.seats[there] + 1)) {
            Ordering::Less => true,
            Ordering::Greater => false,
            Ordering::Equal => {
                let quotient = |cell: &Seat, seats: i64| (i128::from(cell.weight.max(1)), i128::from(2 * seats - 1));
                let (here, there) = (quotient(a, self.seats[here]), quotient(b, self.seats[there] + 1));
                weighed && here.0 * there.1 > there.0 * here.1
            }
        }
    }
}
