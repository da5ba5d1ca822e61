//! Decides how many replicas each cell holds. Pure.

use std::collections::BTreeMap;

use crds::application::v1alpha1::CellDecision;
use domain::decision_record::{DecisionRecord, rebalance_plan};
use domain::failover::FailoverDecision;
use domain::placement::{self, DecisionScope, Directive, Eligibility, InputDigest, PreviousPlacement, Request, Rule};
use domain::stored_revision::StoredRevision;
use store::PlacementRow;
use vocabulary::{CellName, ContentHash};

use crate::app_plan::AppPlan;
use crate::directives::release_of;
use crate::families::{DIVIDED, Families};
use crate::fleet_snapshot::FleetSnapshot;
use crate::gather::AppSnapshot;
use crate::placement_rows::is_present;

/// Returns the cells that hold the application, with the target of each.
///
/// While the input hash is unchanged, the previous decision holds, whatever happened to its replicas. A decision is
/// made anyway where the last one was short or its targets are no longer in place. A requested rebalance or a change of
/// `frozen` also causes a decision.
pub(crate) fn numbers(
    snapshot: &FleetSnapshot,
    facts: &AppSnapshot,
    wanted: &StoredRevision,
    failover: &FailoverDecision,
    plan: &mut AppPlan,
) -> BTreeMap<CellName, i32> {
    let blueprint = &wanted.blueprint;
    let divided = blueprint.divided.map(|index| &blueprint.components[index]);
    let request = Request {
        app: &facts.row.key,
        replicas: facts.intent.wanted(),
        decided: plan.last_decision.1.inputs.replicas(),
        spec: &facts.intent.placement,
        pod: divided.map(|component| component.pod).unwrap_or_default(),
        kinds: &blueprint.kinds,
        accounts: &blueprint.accounts,
    };
    let directives = directives(snapshot, facts, failover);
    let previous = previous(snapshot, facts);
    let scope = DecisionScope::of(&request, &snapshot.topology, &directives, &previous);
    let hash = placement::input_hash(&request, &scope);
    let inputs = || InputDigest::of(&request, &scope);
    if divided.is_none() {
        return undivided(snapshot, &request, &directives, &previous, (hash, inputs()), plan);
    }
    let (last_hash, last_decision) = plan.last_decision.clone();
    let asked = facts.row.rebalance_asked.filter(|asked| Some(*asked) != facts.row.rebalance_done);
    let mut targets: BTreeMap<CellName, i32> =
        previous.iter().map(|(cell, held)| (cell.clone(), held.target)).collect();
    let lost = !is_as_recorded(&last_decision, &previous);
    if hash != last_hash || last_decision.short || lost || asked.is_some() || last_decision.frozen != failover.frozen {
        let ledger = snapshot.ledger_without(&facts.held);
        // A cell that a rebalance emptied stays in `previewed` until it gets replicas again or has no rows left.
        let mut previewed = last_decision.previewed.clone();
        let mut outcome = placement::decide(&request, &snapshot.topology, &directives, &previous, &ledger);
        let offered = asked.is_some() || outcome.rebalance_needed > 0;
        let rebalanced =
            offered.then(|| placement::rebalance(&request, &snapshot.topology, &directives, &previous, &ledger));
        if let (Some(asked), Some(rebalanced)) = (asked, &rebalanced) {
            // A requested rebalance plan that differs from the current plan is void. Status shows the person the new
            // plan.
            if rebalance_plan(rebalanced) == asked {
                outcome = rebalanced.clone();
                outcome.summary = format!("rebalanced as asked: {}", outcome.summary);
                previewed.extend(emptied(&previous, &outcome.targets));
            }
            plan.rebalance_done = Some(asked);
        }
        targets.clone_from(&outcome.targets);
        let offer = rebalanced.as_ref().filter(|_| outcome.rebalance_needed > 0);
        let mut record = DecisionRecord::of(&outcome, hash, offer).made_from(inputs(), &last_decision);
        record.carry_over(&last_decision);
        record.frozen.clone_from(&failover.frozen);
        let leaving = |cell: &String| {
            targets.get(cell.as_str()).copied().unwrap_or(0) == 0 && facts.rows.iter().any(|row| row.cell == *cell)
        };
        record.previewed = previewed.into_iter().filter(leaving).collect();
        plan.deletes.preview(record.previewed.iter().cloned());
        if record != last_decision || hash != last_hash {
            plan.record = Some((hash, record));
        }
    }
    // At zero replicas the object stays, which keeps its name and its place.
    let stays = |cell: &CellName| {
        facts.intent.wanted() == 0 && facts.rows_in(cell.as_str()).any(|row| row.divided && is_present(row))
    };
    targets.retain(|cell, target| *target > 0 || stays(cell));
    targets
}

/// Returns whether the placement has the targets of the record.
///
/// The targets differ after a removal that was taken back, and where objects of a cell were left behind.
fn is_as_recorded(record: &DecisionRecord, previous: &BTreeMap<CellName, PreviousPlacement>) -> bool {
    let held = |cell: &str| previous.get(cell).map_or(0, |held| held.target);
    record.decision.cells.iter().all(|cell| cell.target == held(&cell.cell))
}

/// Returns all inputs besides the spec that change where replicas may go.
fn directives(snapshot: &FleetSnapshot, facts: &AppSnapshot, failover: &FailoverDecision) -> Vec<Directive> {
    snapshot
        .directives
        .of(facts.row.id)
        // A release changes no numbers.
        .filter(|directive| release_of(directive.effect).is_none())
        .cloned()
        .chain(failover.lost.iter().map(|(cluster, since)| Directive::failover(cluster, since)))
        .collect()
}

/// Returns the cells that held replicas before and hold none after.
fn emptied<'a>(
    before: &'a BTreeMap<CellName, PreviousPlacement>,
    after: &'a BTreeMap<CellName, i32>,
) -> impl Iterator<Item = String> + use<'a> {
    let empty = |cell: &CellName| after.get(cell).copied().unwrap_or(0) == 0;
    before.iter().filter(move |(cell, held)| held.target > 0 && empty(cell)).map(|(cell, _)| cell.to_string())
}

/// Returns the placement before this decision: the decided targets with the observed pods.
///
/// Where no component was divided until now, the workload's own target in each cell counts as held. Those replicas stay
/// like any running replicas.
fn previous(snapshot: &FleetSnapshot, facts: &AppSnapshot) -> BTreeMap<CellName, PreviousPlacement> {
    let held = facts.cells.iter().filter(|(cell, _)| is_kept(snapshot, facts, cell));
    let mut previous: BTreeMap<CellName, PreviousPlacement> =
        held.map(|(cell, held)| (cell.clone(), PreviousPlacement { target: held.target, bound: 0 })).collect();
    let families = Families::of(facts);
    let divided = |row: &&PlacementRow| families.of_row(snapshot, facts, row) == Some(DIVIDED);
    for row in facts.rows.iter().filter(|row| is_present(row)).filter(divided) {
        let Some(held) = previous.get_mut(row.cell.as_str()) else { continue };
        held.bound += facts.status.get(&row.id).map_or(0, |status| status.replicas);
        let decided = facts.cells.get(row.cell.as_str()).is_some_and(|cell| {
            cell.target > 0 || facts.revisions.get(&cell.revision).is_none_or(|one| one.blueprint.divided.is_some())
        });
        if !decided {
            held.target += row.target;
        }
    }
    previous
}

/// Returns whether a cell that holds the application may keep it.
///
/// A cell loses it where its objects are left behind, or its member is gone for good. A cell that is missing from the
/// topology, or whose cluster is being emptied, keeps it while an object is placed there.
fn is_kept(snapshot: &FleetSnapshot, facts: &AppSnapshot, cell: &CellName) -> bool {
    match snapshot.topology.cells.get(cell) {
        Some(known) if snapshot.is_abandoned(known.cluster.as_str()) || snapshot.is_gone(known.cluster.as_str()) => {
            false
        }
        Some(known) if !snapshot.is_emptied(known.cluster.as_str()) => true,
        _ => facts.rows_in(cell.as_str()).any(is_present),
    }
}

/// Reason for keeping a workload that is not divided although no cell is meant for it.
const NOTHING_MEANT: &str =
    "no cell is to hold the Application; what runs stays. Correct spec.placement.cells, or delete the Application";

/// Decides which cells hold an application without a Divided component: every eligible cell.
///
/// A cell that holds the application keeps it, unless the spec no longer selects that cell or a directive excludes it.
fn undivided(
    snapshot: &FleetSnapshot,
    request: &Request<'_>,
    directives: &[Directive],
    previous: &BTreeMap<CellName, PreviousPlacement>,
    (hash, inputs): (ContentHash, InputDigest),
    plan: &mut AppPlan,
) -> BTreeMap<CellName, i32> {
    let eligible = placement::eligible_cells(request, &snapshot.topology, directives);
    let is_meant = |cell: &CellName, eligibility: &Eligibility| match eligibility {
        Eligibility::Eligible => true,
        Eligibility::Rejected(rejection) => {
            previous.contains_key(cell) && !matches!(rejection.rule, Rule::NotSelected | Rule::Excluded)
        }
    };
    // A selector that matches no cell takes the application out of no cell.
    let is_held = !previous.is_empty() && !eligible.iter().any(|(cell, eligibility)| is_meant(cell, eligibility));
    let mut record = DecisionRecord { wanted: 0, ..DecisionRecord::default() };
    record.hold = is_held.then(|| NOTHING_MEANT.to_owned());
    let mut cells = BTreeMap::new();
    for (cell, eligibility) in &eligible {
        let before = previous.contains_key(cell);
        let here = is_meant(cell, eligibility) || is_held && before;
        if here {
            cells.insert(cell.clone(), 0);
        }
        let (verdict, note) = match eligibility {
            Eligibility::Eligible => ("Eligible".to_owned(), None),
            Eligibility::Rejected(rejection) => (rejection.rule.as_str().to_owned(), Some(rejection.message.clone())),
        };
        let target = i32::from(here);
        record.decision.cells.push(CellDecision {
            cell: cell.to_string(),
            before: i32::from(before),
            target,
            verdict,
            note,
        });
    }
    // A cell that cannot be read keeps the objects that it holds.
    let unknown = previous.keys().filter(|cell| !snapshot.topology.cells.contains_key(*cell));
    cells.extend(unknown.map(|cell| (cell.clone(), 0)));
    record.decision.input_hash = hash.to_string();
    record.decision.summary = format!("nothing is divided: present in {} of {} cells", cells.len(), eligible.len());
    record.short = cells.is_empty() || is_held;
    record = record.made_from(inputs, &plan.last_decision.1);
    record.carry_over(&plan.last_decision.1);
    // `before` changes with every decision. A record that differs only there is not a new decision.
    let same = {
        let strip = |record: &DecisionRecord| {
            let mut record = record.clone();
            record.decision.cells.iter_mut().for_each(|cell| cell.before = 0);
            record
        };
        hash == plan.last_decision.0 && strip(&record) == strip(&plan.last_decision.1)
    };
    if !same {
        plan.record = Some((hash, record));
    }
    cells
}
