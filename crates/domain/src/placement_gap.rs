//! Explains in one sentence for people why replicas have no place. Pure.

use std::collections::BTreeMap;

use crds::application::v1alpha1::CellDecision;

use crate::decision_record::DecisionRecord;
use crate::placement::Rule;

/// Verdict of a cell that may take replicas.
const ELIGIBLE: &str = "Eligible";
/// Maximum number of rules, besides the leading one, that the sentence names.
const OTHERS_NAMED_MAX: usize = 2;

/// Explains how many replicas have no place, which rule rejects most cells, and its remedy.
///
/// `None` where nothing is short. For a held placement the sentence is the reason of the hold.
pub fn explain_gap(record: &DecisionRecord) -> Option<String> {
    if !record.short {
        return None;
    }
    if let Some(hold) = &record.hold {
        return Some(hold.clone());
    }
    let cells = &record.decision.cells;
    let shortfall = record.decision.shortfall;
    let leaves = |cell: &&CellDecision| {
        let rules = [Rule::NotSelected, Rule::Excluded, Rule::Draining];
        cell.target > 0 && rules.iter().any(|rule| rule.as_str() == cell.verdict)
    };
    let waiting: i32 = cells.iter().filter(leaves).map(|cell| cell.target).sum();
    let begins = match (shortfall, waiting) {
        (0, 0) => "no cell takes the Application".to_owned(),
        (0, waiting) => format!(
            "{} where they may not stay and find no other place",
            count(waiting, "replica waits", "replicas wait")
        ),
        (short, 0) => format!("{short} of {} found no place", count(record.wanted, "replica", "replicas")),
        (short, waiting) => format!(
            "{short} of {} found no place, and {waiting} wait where they may not stay",
            count(record.wanted, "replica", "replicas")
        ),
    };
    Some(format!("{begins}: {}", leading_rules(cells)))
}

fn count(number: i32, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// Lists the rules that reject cells, the most frequent rule first.
///
/// Cells that the selector leaves out count only where the selector leaves out all cells: the user did not want them.
fn leading_rules(cells: &[CellDecision]) -> String {
    if cells.is_empty() {
        return "no cluster has joined; `meridian cluster join --kubeconfig FILE NAME` adds one".to_owned();
    }
    let selected: Vec<&CellDecision> = cells.iter().filter(|cell| cell.verdict != Rule::NotSelected.as_str()).collect();
    if selected.is_empty() {
        return format!(
            "spec.placement.cells selects none of {}; compare it with the labels of `kubectl get mcell,mcl --show-labels`",
            count(cells.len() as i32, "cell", "cells")
        );
    }
    let mut rules: BTreeMap<&str, Vec<&CellDecision>> = BTreeMap::new();
    for cell in &selected {
        rules.entry(&cell.verdict).or_default().push(cell);
    }
    let mut rules: Vec<(&str, Vec<&CellDecision>)> = rules.into_iter().collect();
    // Full eligible cells come after the rules that reject other cells, because such a rule has a remedy of its own.
    rules.sort_by_key(|(rule, cells)| (*rule == ELIGIBLE, std::cmp::Reverse(cells.len()), *rule));
    let mut text = of_rule(rules[0].0, &rules[0].1, selected.len());
    for (rule, cells) in rules.iter().skip(1).take(OTHERS_NAMED_MAX) {
        text.push_str(&format!(
            "; {}",
            if *rule == ELIGIBLE { of_rule(rule, cells, selected.len()) } else { format!("{rule} in {}", cells.len()) }
        ));
    }
    text
}

fn of_rule(rule: &str, cells: &[&CellDecision], of: usize) -> String {
    let note = cells.iter().find_map(|cell| cell.note.as_deref());
    if rule == ELIGIBLE {
        let cells = count(cells.len() as i32, "eligible cell is full", "eligible cells are full");
        return format!("{cells} ({})", note.unwrap_or("no capacity is left; add nodes or lower the pods' requests"));
    }
    let counted = if of == 1 { "the only cell is" } else { "" };
    let counted = if counted.is_empty() { format!("{} of {of} cells are", cells.len()) } else { counted.to_owned() };
    match note {
        Some(note) => format!("{counted} {rule} ({note})"),
        None => format!("{counted} {rule}"),
    }
}

#[cfg(test)]
mod tests {
    use crds::application::v1alpha1::Decision;

    use super::*;

    fn cell(target: i32, verdict: &str, note: &str) -> CellDecision {
        let note = (!note.is_empty()).then(|| note.to_owned());
        CellDecision { cell: "a".to_owned(), before: target, target, verdict: verdict.to_owned(), note }
    }

    fn record(wanted: i32, shortfall: i32, cells: Vec<CellDecision>) -> DecisionRecord {
        let decision = Decision { shortfall, cells, ..Decision::default() };
        DecisionRecord { short: true, wanted, decision, ..DecisionRecord::default() }
    }

    #[test]
    fn ready_names_the_leading_rule_and_its_remedy() {
        let drained = "cluster a is drained; `meridian cluster uncordon a` ends that";
        let denied = "cluster a does not serve example.io/v1/Widget; see `meridian cluster permissions a`";
        for (case, record, expected) in [
            (
                "all are drained",
                record(6, 0, vec![cell(4, "Draining", drained), cell(2, "Draining", drained)]),
                "6 replicas wait where they may not stay and find no other place: 2 of 2 cells are Draining (cluster a is drained; `meridian cluster uncordon a` ends that)",
            ),
            (
                "an operation drains the only cell",
                record(6, 0, vec![cell(6, "Draining", "directive 7 of drain-a drains it: new nodes")]),
                "6 replicas wait where they may not stay and find no other place: the only cell is Draining (directive 7 of drain-a drains it: new nodes)",
            ),
            (
                "a selector with a typo",
                record(3, 3, vec![cell(0, "NotSelected", "spec.placement.cells does not select it"); 3]),
                "3 of 3 replicas found no place: spec.placement.cells selects none of 3 cells; compare it with the labels of `kubectl get mcell,mcl --show-labels`",
            ),
            (
                "a kind is not served",
                record(
                    3,
                    3,
                    vec![
                        cell(0, "KindNotPermitted", denied),
                        cell(0, "KindNotPermitted", denied),
                        cell(0, "Cordoned", ""),
                    ],
                ),
                "3 of 3 replicas found no place: 2 of 3 cells are KindNotPermitted (cluster a does not serve example.io/v1/Widget; see `meridian cluster permissions a`); Cordoned in 1",
            ),
            (
                "what may take more is full",
                record(9, 2, vec![cell(7, "Eligible", "bound by capacity"), cell(0, "NotSelected", "x")]),
                "2 of 9 replicas found no place: 1 eligible cell is full (bound by capacity)",
            ),
            (
                "nothing has joined",
                record(1, 1, vec![]),
                "1 of 1 replica found no place: no cluster has joined; `meridian cluster join --kubeconfig FILE NAME` adds one",
            ),
            (
                "nothing is divided",
                record(0, 0, vec![cell(0, "Cordoned", "cluster a is cordoned")]),
                "no cell takes the Application: the only cell is Cordoned (cluster a is cordoned)",
            ),
        ] {
            assert_eq!(explain_gap(&record).as_deref(), Some(expected), "{case}");
        }
        assert_eq!(explain_gap(&DecisionRecord::default()), None);
    }
}
