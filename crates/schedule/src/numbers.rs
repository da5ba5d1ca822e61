//! How many replicas each cell holds from now on. Pure.

use std::collections::BTreeMap;

use crds::application::v1alpha1::CellDecision;
use domain::decision_record::{DecisionRecord, rebalance_plan};
use domain::failover::FailoverDecision;
use domain::placement::{self, DecisionScope, Directive, Eligibility, Held, InputDigest, Request, Rule};
use domain::stored_revision::StoredRevision;
use store::PlacementRow;
use vocabulary::{CellName, ContentHash};

use crate::families::{DIVIDED, Families};
use crate::fleet_snapshot::FleetSnapshot;
use crate::gather::AppSnapshot;
use crate::plan::{AppPlan, is_present};

/// Cells that hold the application from now on, with the replicas of each. An unchanged input hash gives what was decided
/// before, whatever became of it.
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
    let asked =
        facts.row.rebalance_asked.as_deref().filter(|asked| Some(*asked) != facts.row.rebalance_done.as_deref());
    let mut targets: BTreeMap<CellName, i32> =
        previous.iter().map(|(cell, held)| (cell.clone(), held.target)).collect();
    let lost = !is_as_recorded(&last_decision, &previous);
    if hash != last_hash || last_decision.short || lost || asked.is_some() || last_decision.frozen != failover.frozen {
        let ledger = snapshot.ledger_without(&facts.held);
        // A cell that was left by a rebalance is remembered until it holds something again, or nothing at all.
        let mut previewed = last_decision.previewed.clone();
        let mut outcome = placement::decide(&request, &snapshot.topology, &directives, &previous, &ledger);
        let offered = asked.is_some() || outcome.rebalance_needed > 0;
        let rebalanced =
            offered.then(|| placement::rebalance(&request, &snapshot.topology, &directives, &previous, &ledger));
        if let (Some(asked), Some(rebalanced)) = (asked, &rebalanced) {
            // A plan that is not what would be done now is void: the person sees the new one in status.
            if rebalance_plan(rebalanced).as_bytes() == asked {
                outcome = rebalanced.clone();
                outcome.summary = format!("rebalanced as asked: {}", outcome.summary);
                previewed.extend(emptied(&previous, &outcome.targets));
            }
            plan.rebalance_done = Some(asked.to_vec());
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
    // Where nothing is to run the object stays, so that its name and its place do.
    let stays = |cell: &CellName| {
        facts.intent.wanted() == 0 && facts.rows_in(cell.as_str()).any(|row| row.divided && is_present(row))
    };
    targets.retain(|cell, target| *target > 0 || stays(cell));
    targets
}

/// Whether the placement is the one that the record tells of. It is not after a removal that was taken back, and where
/// what ran in a cell was left behind.
fn is_as_recorded(record: &DecisionRecord, previous: &BTreeMap<CellName, Held>) -> bool {
    let held = |cell: &str| previous.get(cell).map_or(0, |held| held.target);
    record.decision.cells.iter().all(|cell| cell.target == held(&cell.cell))
}

/// Everything besides the spec that changes where replicas may go.
fn directives(snapshot: &FleetSnapshot, facts: &AppSnapshot, failover: &FailoverDecision) -> Vec<Directive> {
    snapshot
        .directives
        .iter()
        .filter(|(app, _)| app.is_none_or(|app| app == facts.row.id))
        .map(|(_, directive)| directive.clone())
        .chain(failover.lost.iter().map(|(cluster, since)| Directive::failover(cluster, since)))
        .collect()
}

/// Cells that held replicas and do not any more.
fn emptied<'a>(
    before: &'a BTreeMap<CellName, Held>,
    after: &'a BTreeMap<CellName, i32>,
) -> impl Iterator<Item = String> + use<'a> {
    let empty = |cell: &CellName| after.get(cell).copied().unwrap_or(0) == 0;
    before.iter().filter(move |(cell, held)| held.target > 0 && empty(cell)).map(|(cell, _)| cell.to_string())
}

/// The placement before: as it was decided, with the pods that were observed. Where nothing was divided until now, what the
/// workload was told to run in each cell is what it holds: it stays there like any running replica.
fn previous(snapshot: &FleetSnapshot, facts: &AppSnapshot) -> BTreeMap<CellName, Held> {
    let held = facts.cells.iter().filter(|(cell, _)| is_kept(snapshot, facts, cell));
    let mut previous: BTreeMap<CellName, Held> =
        held.map(|(cell, held)| (cell.clone(), Held { target: held.target, bound: 0 })).collect();
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

/// Whether a cell that holds the application may go on holding it: not when what runs there is left behind, nor when the
/// cell is unknown or its cluster is emptied, and nothing is placed in it any more.
fn is_kept(snapshot: &FleetSnapshot, facts: &AppSnapshot, cell: &CellName) -> bool {
    match snapshot.topology.cells.get(cell) {
        Some(known) if snapshot.is_abandoned(known.cluster.as_str()) || snapshot.is_gone(known.cluster.as_str()) => {
            false
        }
        Some(known) if !snapshot.is_emptied(known.cluster.as_str()) => true,
        _ => facts.rows_in(cell.as_str()).any(is_present),
    }
}

/// Why a workload that is not divided stays where no cell is meant for it.
const NOTHING_MEANT: &str =
    "no cell is to hold the Application; what runs stays. Correct spec.placement.cells, or delete the Application";

/// Where nothing is divided, every eligible cell holds the application; one that holds it keeps it unless it is no
/// longer meant.
fn undivided(
    snapshot: &FleetSnapshot,
    request: &Request<'_>,
    directives: &[Directive],
    previous: &BTreeMap<CellName, Held>,
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
    // A selector that matches nothing takes nothing away.
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
    // A cell that cannot be read keeps what it holds.
    let unknown = previous.keys().filter(|cell| !snapshot.topology.cells.contains_key(*cell));
    cells.extend(unknown.map(|cell| (cell.clone(), 0)));
    record.decision.input_hash = hash.to_string();
    record.decision.summary = format!("nothing is divided: present in {} of {} cells", cells.len(), eligible.len());
    record.short = cells.is_empty() || is_held;
    record = record.made_from(inputs, &plan.last_decision.1);
    record.carry_over(&plan.last_decision.1);
    // Which cells held it before changes with every look; that alone is no new decision.
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
