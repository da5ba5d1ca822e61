//! Counts the domains of a spread constraint that hold seats.
//!
//! Cells that divide their seats over zones are included.

use std::collections::BTreeSet;

use super::groups::{Evenness, Membership};
use super::seats::Seating;

impl<'a> Seating<'a> {
    /// Whether one more seat in the cell fills an empty domain of a constraint that has too few domains.
    pub(super) fn opens_domain(&self, cell: usize) -> bool {
        self.spreads_of(cell).any(|spread| {
            let used = self.used_domains(spread);
            used < spread.min_domains && self.used_domains_with(spread, Some((cell, 1))) > used
        })
    }

    /// Whether taking a seat from the cell empties a domain that `minDomains` needs.
    pub(super) fn empties_domain(&self, cell: usize) -> bool {
        self.spreads_of(cell).any(|spread| {
            let used = self.used_domains(spread);
            used <= spread.min_domains && self.used_domains_with(spread, Some((cell, -1))) < used
        })
    }

    /// Returns the constraints with `minDomains` in which one seat of the cell can fill or empty a domain.
    fn spreads_of(&self, cell: usize) -> impl Iterator<Item = &'a Evenness> {
        let mut last = None;
        let sparse = move |own: &&Membership| self.seats[cell] <= own.parts && self.sums[own.group].least <= 1;
        self.cells[cell].groups.iter().filter(sparse).filter_map(move |own| {
            let index = self.groups[own.group].spread.filter(|index| last != Some(*index))?;
            last = Some(index);
            Some(&self.spread[index]).filter(|spread| spread.min_domains > 0)
        })
    }

    /// Counts the domains that hold seats, wherever odd seats lie.
    pub(super) fn used_domains(&self, spread: &Evenness) -> i64 {
        self.used_domains_with(spread, None)
    }

    /// Counts the domains that hold seats after `change` adds seats to a cell or removes them from it.
    ///
    /// A cell with fewer seats than zones holds as many zones as it has seats. Those of its zones that other cells
    /// hold, or may hold, are not counted again.
    fn used_domains_with(&self, spread: &Evenness, change: Option<(usize, i64)>) -> i64 {
        let by = |cell: usize| change.filter(|(changed, _)| *changed == cell).map_or(0, |(_, by)| by);
        let seats = |cell: usize| self.seats[cell] + by(cell);
        let changed = |domain: usize| -> i64 {
            let Some((cell, _)) = change else { return 0 };
            let own = self.cells[cell].groups.iter().find(|own| own.group == domain);
            own.map_or(0, |own| own.least(seats(cell)) - own.least(self.seats[cell]))
        };
        let held = spread.domains.iter().copied().filter(|domain| self.sums[*domain].least + changed(*domain) > 0);
        if self.spanning.is_empty() {
            return held.count() as i64;
        }
        let mut held: BTreeSet<usize> = held.collect();
        let mut used = held.len() as i64;
        let parts = |cell: usize| {
            let own = move |own: &&Membership| own.parts > 1 && spread.domains.contains(&own.group);
            self.cells[cell].groups.iter().filter(own)
        };
        let is_sparse = |cell: &usize| parts(*cell).next().is_some_and(|own| (1..own.parts).contains(&seats(*cell)));
        let mut sparse: Vec<usize> = self.spanning.iter().copied().filter(is_sparse).collect();
        sparse.sort_by_key(|cell| -seats(*cell));
        for cell in sparse {
            let counted = parts(cell).filter(|own| held.contains(&own.group)).count() as i64;
            used += (seats(cell) - counted).max(0);
            held.extend(parts(cell).map(|own| own.group));
        }
        used
    }
}
