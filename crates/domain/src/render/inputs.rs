//! Collects the inputs that an object takes from its cell.

use crds::application::v1alpha1::OverrideRule;
use vocabulary::{CellInputs, ZoneSpread};

use crate::topology::CellFacts;

/// Returns the inputs that an object takes from the current cell, given the revision's override rules.
pub fn cell_inputs(rules: &[OverrideRule], cell: &CellFacts, zone_spread: Option<ZoneSpread>) -> CellInputs {
    let selects = |(_, rule): &(usize, &OverrideRule)| rule.cells.matches(&cell.labels);
    CellInputs {
        node_selector: cell.node_selector.clone(),
        overrides: rules.iter().enumerate().filter(selects).map(|(place, _)| place).collect(),
        zone_spread,
    }
}
