//! Decisions as tables.

use std::collections::BTreeMap;

use domain::placement::{CellExplanation, Eligibility, Outcome, Spread};

use crate::messages::{Said, grouped};
use crate::output::{Format, Table, or_dash};

/// How the rules of a decision rank; printed with every explanation.
pub(super) const PRECEDENCE: &str = "\
Rules, the first ones win: 1 eligibility (selectors, taints, cordon, kinds, health, directives)  2 hard limits (capacity, \
max, pairs)  3 no running replica moves  4 min, spread, surviveLoss  5 shares  6 weights; tiers order them.
";

/// Per cell: numbers, whether it may take replicas, and what bound; in the wide form with its name for people.
pub(super) fn cells(outcome: &Outcome, display_names: &BTreeMap<String, String>, format: Format) -> String {
    let named = format == Format::Wide;
    let mut header = vec!["CELL", "CLUSTER", "REGION", "ZONE", "NOW", "DECIDED", "FITS", "VERDICT", "WHY"];
    if named {
        header.insert(1, "DISPLAY NAME");
    }
    let mut table = Table::new(header);
    let reasons: Vec<String> = outcome.cells.iter().map(why).collect();
    let said: Vec<Said<'_>> = outcome
        .cells
        .iter()
        .zip(&reasons)
        .map(|(cell, message)| Said { place: cell.cell.as_str(), cluster: cell.cluster.as_str(), message })
        .collect();
    let messages = grouped(&said);
    for (cell, message) in outcome.cells.iter().zip(messages.column) {
        let mut row = vec![
            cell.cell.to_string(),
            cell.cluster.to_string(),
            cell.region.clone(),
            cell.zone.clone(),
            cell.before.to_string(),
            cell.target.to_string(),
            cell.capacity.to_string(),
            verdict(cell).to_owned(),
            message,
        ];
        if named {
            row.insert(1, or_dash(display_names.get(cell.cell.as_str()).map(String::as_str)));
        }
        table.row(row);
    }
    table.render() + &messages.below
}

pub(super) fn verdict(cell: &CellExplanation) -> &'static str {
    match &cell.eligibility {
        Eligibility::Eligible => "Eligible",
        Eligibility::Rejected(rejection) => rejection.rule.as_str(),
    }
}

fn why(cell: &CellExplanation) -> String {
    let rejected = match &cell.eligibility {
        Eligibility::Eligible => None,
        Eligibility::Rejected(rejection) => Some(rejection.message.clone()),
    };
    let bound = cell.bound_by.as_ref().map(|limit| format!("bound by {limit}"));
    let all: Vec<String> = rejected.into_iter().chain(bound).chain(cell.notes.iter().cloned()).collect();
    all.join("; ")
}

/// What is to be said besides the table.
pub(super) fn remarks(outcome: &Outcome) -> String {
    let mut text = format!("{}\n", outcome.summary);
    if outcome.shortfall > 0 {
        text.push_str(&format!("Shortfall: {} replicas find no place\n", outcome.shortfall));
    }
    if let Some(hold) = &outcome.hold {
        text.push_str(&format!("Held: {hold}\n"));
    }
    if let Spread::Violated(why) = &outcome.spread {
        text.push_str(&format!("Spread: {why}\n"));
    }
    if outcome.rebalance_needed > 0 {
        text.push_str(&format!("Rebalance: {} replicas would move\n", outcome.rebalance_needed));
    }
    for note in &outcome.notes {
        text.push_str(&format!("Note: {note}\n"));
    }
    text
}
