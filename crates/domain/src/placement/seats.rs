//! Gives replicas to cells, or takes them from cells, one at a time and under caps.
//!
//! A seat is one replica.
//!
//! The cell with the highest quotient takes the next seat, by Webster's divisors 1, 3, 5 …. A cell of weight w with x
//! seats has the quotient w / (2x + 1). The method is monotone: one seat more to give never takes a seat from any
//! cell.

use std::cmp::Ordering;

use super::groups::{Evenness, Group, Membership, Respect, Seat, Sum};

/// Seats of all cells, and the sums of all groups.
#[derive(Debug, Clone)]
pub(crate) struct Seating<'a> {
    pub(crate) cells: &'a [Seat],
    pub(crate) groups: &'a [Group],
    pub(crate) spread: &'a [Evenness],
    pub(crate) seats: Vec<i64>,
    pub(super) sums: Vec<Sum>,
    total: i64,
    /// Number of units in a seat.
    ///
    /// A common multiple of all `parts`, so that each part of a seat is a whole number of units.
    unit: i64,
    /// Indices of cells that divide their seats over zones.
    pub(super) spanning: Vec<usize>,
}

fn least_common_multiple(a: i64, b: i64) -> i64 {
    let (mut x, mut y) = (a, b);
    while y != 0 {
        (x, y) = (y, x % y);
    }
    a / x * b
}

impl<'a> Seating<'a> {
    pub(crate) fn new(cells: &'a [Seat], groups: &'a [Group], spread: &'a [Evenness], seats: Vec<i64>) -> Self {
        let parts = cells.iter().flat_map(|cell| &cell.groups).map(|membership| membership.parts);
        let unit = parts.fold(1, least_common_multiple);
        let mut sums = vec![Sum::default(); groups.len()];
        for (cell, count) in cells.iter().zip(&seats) {
            for membership in &cell.groups {
                let sum = &mut sums[membership.group];
                sum.even += count * (unit / membership.parts);
                sum.most += membership.most(*count);
                sum.least += membership.least(*count);
            }
        }
        let total = seats.iter().sum();
        let spans = |cell: &usize| cells[*cell].groups.iter().any(|own| own.parts > 1);
        let spanning = (0..cells.len()).filter(spans).collect();
        Self { cells, groups, spread, seats, sums, total, unit, spanning }
    }

    pub(crate) fn total(&self) -> i64 {
        self.total
    }

    pub(crate) fn sum(&self, group: usize) -> Sum {
        self.sums[group]
    }

    pub(crate) fn shift(&mut self, cell: usize, by: i64) {
        let before = self.seats[cell];
        let after = before + by;
        self.seats[cell] = after;
        self.total += by;
        for membership in &self.cells[cell].groups {
            let sum = &mut self.sums[membership.group];
            sum.even += by * (self.unit / membership.parts);
            sum.most += membership.most(after) - membership.most(before);
            sum.least += membership.least(after) - membership.least(before);
        }
    }

    /// Returns the maximum sum of a group if the cell took one more seat.
    fn most_after(&self, cell: usize, membership: Membership) -> i64 {
        let seats = self.seats[cell];
        self.sums[membership.group].most + membership.most(seats + 1) - membership.most(seats)
    }

    /// Whether at least `wanted` seats exist, also after the losses that must be survived.
    pub(crate) fn enough(&self, wanted: i64) -> bool {
        self.survivors() >= wanted
    }

    /// Returns the seats that remain after the worst loss that must be survived.
    ///
    /// Without such a loss this is the number of all seats.
    pub(crate) fn survivors(&self) -> i64 {
        let after = |spread: &Evenness| Some(self.left(spread, spread.survive?));
        self.spread.iter().filter_map(after).chain([self.total]).min().unwrap_or(self.total)
    }

    /// Returns the seats that remain after the loss of the `losses` largest domains.
    ///
    /// The result holds wherever odd seats lie. Seats outside all domains may be lost with any domain, so they do not
    /// count.
    fn left(&self, spread: &Evenness, losses: usize) -> i64 {
        let inside = spread.domains.iter().map(|domain| self.sums[*domain].even).sum::<i64>() / self.unit;
        (inside - self.largest(spread, losses)).max(0)
    }

    /// Returns the seats of the `losses` largest domains together, wherever odd seats lie.
    fn largest(&self, spread: &Evenness, losses: usize) -> i64 {
        let mut sums: Vec<i64> = spread.domains.iter().map(|domain| self.sums[*domain].most).collect();
        sums.sort_unstable_by(|a, b| b.cmp(a));
        sums.iter().take(losses).sum()
    }

    /// Whether a loss that must be survived would leave fewer than `wanted` seats.
    ///
    /// Best-effort constraints are ignored.
    pub(crate) fn is_exposed(&self, wanted: i64) -> bool {
        self.spread
            .iter()
            .filter(|spread| !spread.best_effort)
            .filter_map(|spread| Some((spread, spread.survive?)))
            .any(|(spread, losses)| self.left(spread, losses) < wanted)
    }

    /// Returns a full group of the cell, which keeps the cell from taking a seat.
    pub(crate) fn full(&self, cell: usize) -> Option<&'a Group> {
        self.cells[cell]
            .groups
            .iter()
            .find(|membership| self.most_after(cell, **membership) > self.groups[membership.group].max)
            .map(|membership| &self.groups[membership.group])
    }

    /// Whether one more seat in the cell respects `maxSkew` of its spread constraints.
    ///
    /// A seat that raises no domain relative to the smallest domain always does.
    fn stays_even(&self, cell: usize, respect: Respect) -> bool {
        let groups = &self.cells[cell].groups;
        groups.iter().all(|membership| {
            let Some(index) = self.groups[membership.group].spread else { return true };
            let spread = &self.spread[index];
            let Some(skew) = spread.max_skew.filter(|_| respect.includes(spread)) else { return true };
            let part = self.unit / membership.parts;
            let raised = |domain: usize| if groups.iter().any(|own| own.group == domain) { part } else { 0 };
            let before = self.sums[membership.group].even - self.smallest(spread, |_| 0);
            let after = self.sums[membership.group].even + part - self.smallest(spread, raised);
            after <= before.max(skew * self.unit)
        })
    }

    /// Returns the seats of the smallest open domain, in units, with `added` applied to each domain.
    fn smallest(&self, spread: &Evenness, added: impl Fn(usize) -> i64) -> i64 {
        spread
            .domains
            .iter()
            .filter(|domain| self.groups[**domain].open)
            .map(|domain| self.sums[*domain].even + added(*domain))
            .min()
            .unwrap_or(0)
    }

    /// Returns the cell that takes the next seat, or `None` where no cell can take a seat.
    pub(crate) fn next(&self, respect: Respect) -> Option<usize> {
        let may = |cell: usize| {
            let seat = &self.cells[cell];
            seat.open
                && seat.share.is_none_or(|share| self.seats[cell] < share)
                && (seat.weight > 0 || seat.share.is_some() || self.is_below_min(cell))
                && self.full(cell).is_none()
                && self.stays_even(cell, respect)
        };
        (0..self.cells.len()).filter(|cell| may(*cell)).min_by(|a, b| self.order(*a, *b))
    }

    fn is_below_min(&self, cell: usize) -> bool {
        let below = |membership: &Membership| self.sums[membership.group].least < self.groups[membership.group].min;
        self.cells[cell].groups.iter().any(below)
    }

    /// Returns the largest sum, after one more seat, among the cell's domains whose loss must be survived.
    ///
    /// The smaller this number is, the earlier the cell takes a seat.
    fn exposure(&self, cell: usize) -> i64 {
        self.cells[cell]
            .groups
            .iter()
            .filter(|own| self.groups[own.group].spread.is_some_and(|index| self.spread[index].survive.is_some()))
            .map(|own| self.most_after(cell, *own))
            .max()
            .unwrap_or(0)
    }

    /// Orders two cells for the next seat by precedence. The cells themselves are sorted by name.
    fn order(&self, a: usize, b: usize) -> Ordering {
        let first = |flag: bool| !flag;
        let shared = |cell: usize| self.cells[cell].share.is_some();
        let key = |cell: usize| {
            (
                first(self.is_below_min(cell)),
                first(self.opens_domain(cell)),
                self.exposure(cell),
                first(shared(cell)),
                self.cells[cell].tier,
            )
        };
        key(a)
            .cmp(&key(b))
            .then_with(|| self.quotient(b, a, 1))
            .then_with(|| {
                // Among equal cells, a cell below its previous number comes first, so that no replica moves without a
                // gain.
                let had = |cell: usize| self.seats[cell] < self.cells[cell].held;
                had(b).cmp(&had(a))
            })
            .then(a.cmp(&b))
    }

    /// Compares w / (2x ± 1) of two cells without division.
    fn quotient(&self, a: usize, b: usize, step: i64) -> Ordering {
        let divisor = |cell: usize| i128::from(2 * self.seats[cell] + step);
        let weight = |cell: usize| i128::from(self.cells[cell].weight.max(1));
        (weight(a) * divisor(b)).cmp(&(weight(b) * divisor(a)))
    }

    /// Returns the cell that gives a seat back when there are more than `wanted`.
    ///
    /// Afterwards as many seats survive a loss as before, or at least `wanted`. Seats of leaving cells go first, then
    /// seats of cells that take no new ones. No cell goes below `base`.
    pub(crate) fn previous(&self, wanted: i64, base: &[i64]) -> Option<usize> {
        if self.total <= wanted {
            return None;
        }
        let mut order: Vec<usize> = (0..self.cells.len()).filter(|cell| self.seats[*cell] > base[*cell]).collect();
        order.sort_by(|a, b| self.reverse_order(*a, *b));
        let least = self.survivors().min(wanted);
        let mut after = self.clone();
        order.into_iter().find(|cell| {
            after.shift(*cell, -1);
            let still = after.survivors() >= least;
            after.shift(*cell, 1);
            still
        })
    }

    fn reverse_order(&self, a: usize, b: usize) -> Ordering {
        let first = |flag: bool| !flag;
        let key = |cell: usize| {
            let seat = &self.cells[cell];
            let at_min = seat
                .groups
                .iter()
                .any(|own| self.groups[own.group].open && self.sums[own.group].least <= self.groups[own.group].min);
            let over_max = seat.groups.iter().any(|own| self.sums[own.group].most > self.groups[own.group].max);
            let at_share = seat.share.is_some_and(|share| self.seats[cell] <= share);
            (
                first(seat.leaving),
                first(!seat.open),
                first(over_max),
                at_min,
                self.empties_domain(cell),
                -self.crowding(cell),
                at_share,
                usize::MAX - seat.tier,
            )
        };
        key(a).cmp(&key(b)).then_with(|| self.quotient(a, b, -1)).then(b.cmp(&a))
    }

    /// Returns the seats of the cell's fullest domain, in units.
    ///
    /// Only domains that are kept even, or whose loss must be survived, are counted.
    fn crowding(&self, cell: usize) -> i64 {
        self.cells[cell]
            .groups
            .iter()
            .filter(|own| {
                self.groups[own.group]
                    .spread
                    .is_some_and(|index| self.spread[index].max_skew.is_some() || self.spread[index].survive.is_some())
            })
            .map(|own| self.sums[own.group].even)
            .max()
            .unwrap_or(0)
    }

    /// Describes the first spread constraint that does not hold.
    pub(crate) fn uneven(&self, wanted: i64, respect: Respect) -> Option<String> {
        self.spread.iter().filter(|spread| respect.includes(spread)).find_map(|spread| {
            let (name, state) = (&spread.name, self.state(spread, wanted));
            if state.skew_over > 0 {
                let most = spread.max_skew.unwrap_or_default();
                return Some(format!("{name}.maxSkew is {most}, the difference is {}", most + state.skew_over));
            }
            if state.domains_missing > 0 {
                let used = self.used_domains(spread);
                return Some(format!("{name}.minDomains is {}, {used} hold replicas", spread.min_domains));
            }
            let losses = spread.survive.filter(|_| state.survivors_missing > 0)?;
            Some(format!(
                "{name}.surviveLoss: {} of {wanted} replicas would be left after the loss of {losses}",
                wanted - state.survivors_missing
            ))
        })
    }

    /// Computes how far a spread constraint is from holding.
    pub(super) fn state(&self, spread: &Evenness, wanted: i64) -> SpreadState {
        let even = |domain: &usize| self.sums[*domain].even;
        let open = spread.domains.iter().filter(|domain| self.groups[**domain].open).map(even);
        let largest = spread.domains.iter().map(even).max().unwrap_or(0);
        let skew = largest - open.min().unwrap_or(largest);
        let used = self.used_domains(spread);
        // A fraction of a seat above the limit counts as a whole seat.
        let over = |most: i64| (skew - most * self.unit + self.unit - 1).div_euclid(self.unit).max(0);
        SpreadState {
            skew_over: spread.max_skew.map_or(0, over),
            domains_missing: (spread.min_domains.min(self.total.max(wanted.min(1))) - used).max(0),
            survivors_missing: spread.survive.map_or(0, |losses| (wanted - self.left(spread, losses)).max(0)),
        }
    }
}

/// Distance of a spread constraint from being satisfied. All fields are 0 when the constraint holds.
pub(super) struct SpreadState {
    pub(super) skew_over: i64,
    pub(super) domains_missing: i64,
    pub(super) survivors_missing: i64,
}
