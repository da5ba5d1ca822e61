//! Formats decisions as tables.

use std::collections::BTreeMap;

use domain::placement::{CellExplanation, Eligibility, Outcome, Rule, Spread};

use crate::messages::{Said, grouped};
use crate::output::{Format, Table, or_dash};

/// Precedence of the rules of a decision. Printed with every explanation.
pub(super) const PRECEDENCE: &str = "\
Rules, the first ones win: 1 eligibility (selectors, taints, cordon, kinds, health, directives)  2 hard limits (capacity, \
max, pairs)  3 no running replica moves  4 min, spread, surviveLoss  5 shares  6 weights; tiers order them.
";

/// Formats one row per cell: its numbers, whether it may take replicas, and which limit bound it.
///
/// The wide form adds display names. Cells that the Application does not select appear in the wide form only, or if
/// they hold replicas.
pub(super) fn cells(outcome: &Outcome, display_names: &BTreeMap<String, String>, format: Format) -> String {
    let named = format == Format::Wide;
    let mut header = vec!["CELL", "CLUSTER", "REGION", "ZONE", "NOW", "DECIDED", "FITS", "VERDICT", "WHY"];
    if named {
        header.insert(1, "DISPLAY NAME");
    }
    let mut table = Table::new(header);
    let is_hidden = |cell: &&CellExplanation| {
        let rejected = matches!(&cell.eligibility, Eligibility::Rejected(why) if why.rule == Rule::NotSelected);
        !named && rejected && cell.before == 0 && cell.target == 0
    };
    let shown: Vec<&CellExplanation> = outcome.cells.iter().filter(|cell| !is_hidden(cell)).collect();
    let hidden = outcome.cells.len() - shown.len();
    let reasons: Vec<String> = shown.iter().map(|cell| why(cell)).collect();
    let said: Vec<Said<'_>> = shown
        .iter()
        .zip(&reasons)
        .map(|(cell, message)| Said { place: cell.cell.as_str(), cluster: cell.cluster.as_str(), message })
        .collect();
    let messages = grouped(&said);
    for (cell, message) in shown.into_iter().zip(messages.column) {
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
    let mut text = table.render() + &messages.below;
    if hidden > 0 {
        text.push_str(&format!("{hidden} more cells are not selected by spec.placement.cells; `-o wide` shows them\n"));
    }
    text
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

/// Formats the parts of a decision that the table does not show.
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

#[cfg(test)]
mod tests {
    use domain::placement::Rejection;

    use super::*;

    #[test]
    fn cells_that_are_not_selected_are_shown_in_wide_only() {
        let cell = |name: &str, rule: Option<Rule>, before: i32| CellExplanation {
            cell: name.parse().unwrap(),
            cluster: "north".parse().unwrap(),
            region: "r".to_owned(),
            zone: "z".to_owned(),
            before,
            target: before,
            eligibility: rule.map_or(Eligibility::Eligible, |rule| {
                Eligibility::Rejected(Rejection { rule, message: "it says why".to_owned() })
            }),
            capacity: 9,
            bound_by: None,
            notes: Vec::new(),
        };
        let outcome = Outcome {
            targets: BTreeMap::new(),
            wanted: 0,
            shortfall: 0,
            waiting: 0,
            hold: None,
            spread: Spread::NotAsked,
            rebalance_needed: 0,
            notes: Vec::new(),
            cells: vec![
                cell("taken", None, 0),
                cell("tainted", Some(Rule::Tainted), 0),
                cell("left", Some(Rule::NotSelected), 2),
                cell("other", Some(Rule::NotSelected), 0),
            ],
            summary: String::new(),
        };
        let shown = |format: Format| {
            let text = cells(&outcome, &BTreeMap::new(), format);
            let names = ["taken", "tainted", "left", "other"].map(|name| text.contains(name));
            (names, text.contains("1 more cells are not selected"))
        };
        assert_eq!(shown(Format::Table), ([true, true, true, false], true));
        assert_eq!(shown(Format::Wide), ([true; 4], false));
    }
}
