//! The decision: fresh where nothing is placed, otherwise only the difference.

use std::collections::BTreeMap;

use crds::placement_policy::v1alpha1::WeightMode;
use vocabulary::CellName;

use super::eligibility::Eligibility;
use super::outcome::{CellExplanation, Outcome, Spread};
use super::request::{Directive, Held, Ledger, Request};
use super::seats::Seating;
use super::setting::Setting;
use crate::topology::Topology;

/// Decides where replicas go.
///
/// # Guarantees
/// - The numbers add up to `wanted` less `shortfall`, unless the previous placement is held.
/// - No cell takes more than its limits and its capacity allow beyond what it has already.
/// - A running replica moves only away from a cell it may not stay in, and only when it has a place to go.
/// - Deciding again with the result as the previous placement changes nothing.
/// - The order of inputs does not matter.
pub fn decide(
    request: &Request<'_>,
    topology: &Topology,
    directives: &[Directive],
    previous: &BTreeMap<CellName, Held>,
    ledger: &Ledger,
) -> Outcome {
    let setting = Setting::new(request, topology, directives, previous, ledger);
    let wanted = i64::from(request.replicas.max(0));
    let before = Seating::new(&setting.seats, &setting.groups, &setting.spread, setting.held.clone());
    let mut verdict = Reached::default();
    let after = if before.total() == 0 {
        fresh(&setting, wanted, &mut verdict)
    } else {
        difference(&before, wanted, &mut verdict)
    };
    let moves = moves_of_rebalance(request, &setting, &after, wanted, verdict.hold.is_some());
    explain(request, &setting, &after, wanted, verdict, moves)
}

/// What a rebalance would make of the previous placement: as good as a fresh one, moving no replica without a gain.
/// Cells that take no replicas keep theirs.
pub fn rebalance(
    request: &Request<'_>,
    topology: &Topology,
    directives: &[Directive],
    previous: &BTreeMap<CellName, Held>,
    ledger: &Ledger,
) -> Outcome {
    let setting = Setting::new(request, topology, directives, previous, ledger);
    let wanted = i64::from(request.replicas.max(0));
    let mut verdict = Reached::default();
    let after = rebalanced(&setting, wanted, &mut verdict);
    explain(request, &setting, &after, wanted, verdict, 0)
}

/// What was reached besides the seats.
#[derive(Debug, Default)]
struct Reached {
    hold: Option<String>,
    waiting: i64,
}

fn empty<'a>(setting: &'a Setting<'_>) -> Seating<'a> {
    Seating::new(&setting.seats, &setting.groups, &setting.spread, vec![0; setting.seats.len()])
}

fn fresh<'a>(setting: &'a Setting<'_>, wanted: i64, verdict: &mut Reached) -> Seating<'a> {
    let mut seating = empty(setting);
    grow(&mut seating, wanted);
    if strict(setting)
        && let Some(why) = seating.uneven(wanted).or_else(|| blocked(&seating, wanted))
    {
        verdict.hold = Some(format!("{why}; add domains or capacity, or set whenUnsatisfiable: BestEffort"));
        return empty(setting);
    }
    seating
}

/// A constraint must hold, or nothing more is placed.
fn strict(setting: &Setting<'_>) -> bool {
    setting.spread.iter().any(|spread| !spread.best_effort)
}

/// Evenness alone keeps replicas from being placed.
fn blocked(seating: &Seating<'_>, wanted: i64) -> Option<String> {
    (!seating.enough(wanted) && seating.next(true).is_none() && seating.next(false).is_some()).then(|| {
        let names: Vec<&str> = seating.spread.iter().map(|spread| spread.name.as_str()).collect();
        format!("{} replicas find no place that keeps {} even", wanted - seating.total().min(wanted), names.join(", "))
    })
}

/// Gives seats until there are enough, or nobody can take one.
fn grow(seating: &mut Seating<'_>, wanted: i64) {
    let relaxed = seating.spread.iter().all(|spread| spread.best_effort);
    let most = wanted.saturating_mul(2 + seating.spread.len() as i64 * 8).max(64);
    while !seating.enough(wanted) && seating.total() < most {
        let next = seating.next(true).or_else(|| if relaxed { seating.next(false) } else { None });
        let Some(cell) = next else { return };
        seating.shift(cell, 1);
    }
}

fn difference<'a>(before: &Seating<'a>, wanted: i64, verdict: &mut Reached) -> Seating<'a> {
    let mut after = before.clone();
    // Fewer: what may not stay goes first, so that it need not be moved.
    while after.total() > 0 && after.enough(wanted) {
        let Some(cell) = after.previous(wanted) else { break };
        after.shift(cell, -1);
    }
    // What may not stay moves as far as there is room; evenness steers it and does not stop it.
    let leaving: Vec<usize> = (0..after.seats.len()).filter(|cell| after.cells[*cell].leaving).collect();
    for cell in leaving {
        while after.seats[cell] > 0 {
            after.shift(cell, -1);
            if let Some(to) = after.next(true).or_else(|| after.next(false)) {
                after.shift(to, 1)
            } else {
                after.shift(cell, 1);
                verdict.waiting += after.seats[cell];
                break;
            }
        }
    }
    let placed = after.clone();
    grow(&mut after, wanted);
    if let Some(why) = blocked(&after, wanted).filter(|_| before.spread.iter().any(|spread| !spread.best_effort)) {
        verdict.hold =
            Some(format!("{why}; what runs stays. Add domains or capacity, or set whenUnsatisfiable: BestEffort"));
        return placed;
    }
    after
}

/// Cells that are closed but keep what they have stay as they are; all others are filled anew.
fn rebalanced<'a>(setting: &'a Setting<'_>, wanted: i64, verdict: &mut Reached) -> Seating<'a> {
    let kept: Vec<i64> = (0..setting.seats.len())
        .map(|cell| if setting.seats[cell].open || setting.seats[cell].leaving { 0 } else { setting.held[cell] })
        .collect();
    let mut seating = Seating::new(&setting.seats, &setting.groups, &setting.spread, kept);
    grow(&mut seating, wanted);
    let relaxed = strict(setting) && (seating.uneven(wanted).is_some() || blocked(&seating, wanted).is_some());
    if relaxed || !seating.enough(wanted) {
        // It would not be better than what runs.
        verdict.hold = Some("no placement of the running replicas satisfies every constraint".to_owned());
        return Seating::new(&setting.seats, &setting.groups, &setting.spread, setting.held.clone());
    }
    seating
}

fn moves_of_rebalance(
    request: &Request<'_>,
    setting: &Setting<'_>,
    after: &Seating<'_>,
    wanted: i64,
    held: bool,
) -> i32 {
    // Weights by capacity change with every pod: only a broken constraint is worth a move.
    let by_capacity = request.spec.weights.mode == WeightMode::Capacity;
    let broken = after.uneven(wanted).is_some() || over_limit(after);
    if after.total() == 0 || held || by_capacity && !broken {
        return 0;
    }
    // As if the decision were in force: moves are counted from there.
    let mut standing = Setting {
        names: setting.names.clone(),
        facts: setting.facts.clone(),
        verdicts: setting.verdicts.clone(),
        held: after.seats.clone(),
        capacity: setting.capacity.clone(),
        seats: setting.seats.clone(),
        groups: setting.groups.clone(),
        spread: setting.spread.clone(),
        notes: Vec::new(),
    };
    for (seat, held) in standing.seats.iter_mut().zip(&after.seats) {
        seat.held = *held;
    }
    let mut verdict = Reached::default();
    let best = rebalanced(&standing, wanted, &mut verdict);
    if verdict.hold.is_some() {
        return 0;
    }
    after.seats.iter().zip(&best.seats).map(|(now, then)| (now - then).max(0)).sum::<i64>() as i32
}

fn over_limit(after: &Seating<'_>) -> bool {
    after
        .groups
        .iter()
        .enumerate()
        .any(|(index, group)| after.sum(index) > group.max || group.open && after.sum(index) < group.min)
}

fn explain(
    request: &Request<'_>,
    setting: &Setting<'_>,
    after: &Seating<'_>,
    wanted: i64,
    verdict: Reached,
    moves: i32,
) -> Outcome {
    let mut targets = BTreeMap::new();
    let mut cells = Vec::with_capacity(setting.names.len());
    let mut notes = setting.notes.clone();
    for (i, name) in setting.names.iter().enumerate() {
        let (before, target) = (setting.held[i] as i32, after.seats[i] as i32);
        if before > 0 || target > 0 {
            targets.insert(name.clone(), target);
        }
        let seat = &setting.seats[i];
        let mut remarks = Vec::new();
        if let Some(share) = seat.share.filter(|share| seat.open && *share != after.seats[i] && after.total() > 0) {
            let why = format!(
                "ShareDeferred: {name} is to have {share} and has {target}; no running replica is moved for it"
            );
            remarks.push(why.clone());
            notes.push(why);
        }
        if seat.leaving && target > 0 {
            remarks.push(format!("{target} replicas wait here for capacity elsewhere"));
        }
        let Some(facts) = setting.facts[i] else { continue };
        cells.push(CellExplanation {
            cell: name.clone(),
            cluster: facts.cluster.clone(),
            region: facts.region.clone(),
            zone: facts.zone_text(),
            before,
            target,
            eligibility: setting.verdicts[i].clone(),
            capacity: setting.capacity[i].clamp(0, i64::from(i32::MAX)) as i32,
            bound_by: seat.open.then(|| after.full(i)).flatten().map(|group| group.name.clone()),
            notes: remarks,
        });
    }
    for (index, group) in after.groups.iter().enumerate() {
        if group.open && wanted > 0 && after.sum(index) < group.min && after.total() > 0 {
            notes.push(format!("{} asks for at least {}, {} are placed", group.name, group.min, after.sum(index)));
        }
    }
    let spread = if setting.spread.is_empty() {
        Spread::NotAsked
    } else {
        match verdict.hold.clone().filter(|_| after.total() == 0).or_else(|| after.uneven(wanted)) {
            None => Spread::Satisfied,
            Some(why) => Spread::Violated(why),
        }
    };
    let shortfall = if after.enough(wanted) { 0 } else { missing(after, wanted) };
    if verdict.waiting > 0 {
        notes.push(format!("{} replicas wait for capacity where they may not stay", verdict.waiting));
    }
    let total = after.total() as i32;
    let summary = summary(request, &targets, &cells, total, shortfall, verdict.hold.as_deref());
    Outcome {
        targets,
        wanted: total + shortfall,
        shortfall,
        waiting: verdict.waiting as i32,
        hold: verdict.hold,
        spread,
        rebalance_needed: moves,
        notes,
        cells,
        summary,
    }
}

/// Replicas that are missing until there are enough, survivors of a loss included.
fn missing(after: &Seating<'_>, wanted: i64) -> i32 {
    let survivors = after.spread.iter().filter_map(|spread| {
        let losses = spread.survive?;
        let mut sums: Vec<i64> = spread.domains.iter().map(|domain| after.sum(*domain)).collect();
        sums.sort_unstable_by(|a, b| b.cmp(a));
        Some(after.total() - sums.iter().take(losses).sum::<i64>())
    });
    let least = survivors.chain([after.total()]).min().unwrap_or(0);
    (wanted - least).max(0) as i32
}

fn summary(
    request: &Request<'_>,
    targets: &BTreeMap<CellName, i32>,
    cells: &[CellExplanation],
    total: i32,
    shortfall: i32,
    hold: Option<&str>,
) -> String {
    let placed = targets.values().filter(|target| **target > 0).count();
    let eligible = cells.iter().filter(|cell| cell.eligibility == Eligibility::Eligible).count();
    let mut text = format!(
        "{total} replicas in {placed} cells, {} asked for, {eligible} of {} cells eligible",
        request.replicas,
        cells.len()
    );
    if shortfall > 0 {
        text.push_str(&format!(", {shortfall} found no place"));
    }
    if let Some(hold) = hold {
        text.push_str("; held: ");
        text.push_str(hold);
    }
    text
}
