//! Decides a fresh placement where nothing is placed, and otherwise only the difference.

use std::collections::BTreeMap;

use vocabulary::CellName;

use super::eligibility::Eligibility;
use super::groups::Respect;
use super::growth::{blocked, give_back, grow};
use super::outcome::{CellExplanation, Outcome, Spread};
use super::rebalance::{moves_of_rebalance, rebalanced};
use super::request::{Directive, Ledger, PreviousPlacement, Request};
use super::seats::Seating;
use super::setting::Setting;
use crate::topology::Topology;

/// Decides how many replicas each cell runs.
///
/// # Guarantees
/// - The numbers add up to `wanted` less `shortfall`, unless the previous placement is held.
/// - No cell takes more than its limits and its capacity allow, beyond the replicas it already has.
/// - A running replica moves only out of a cell where it may not stay, and only when another cell takes it.
/// - Deciding again with the result as the previous placement changes nothing.
/// - The order of inputs does not matter.
pub fn decide(
    request: &Request<'_>,
    topology: &Topology,
    directives: &[Directive],
    previous: &BTreeMap<CellName, PreviousPlacement>,
    ledger: &Ledger,
) -> Outcome {
    let setting = Setting::new(request, topology, directives, previous, ledger);
    let wanted = i64::from(request.replicas.max(0));
    let before = Seating::new(&setting.seats, &setting.groups, &setting.spread, setting.held.clone());
    let mut hold = None;
    let lowered = request.decided.is_some_and(|decided| request.replicas < decided);
    let after = if before.total() == 0 {
        fresh(&setting, wanted, &mut hold)
    } else {
        difference(&before, wanted, lowered, &mut hold)
    };
    let moves = if hold.is_some() {
        0
    } else {
        let anew = |setting: &Setting<'_>, seats: &[i64]| {
            Setting::new(request, topology, directives, &placed(setting, seats, previous), ledger)
        };
        if after.seats == setting.held {
            moves_of_rebalance(request, &setting, wanted, anew)
        } else {
            moves_of_rebalance(request, &anew(&setting, &after.seats), wanted, anew)
        }
    };
    explain(request, &setting, &after, wanted, hold, moves)
}

/// Computes the placement that a rebalance makes of the previous one.
///
/// The result is as good as a fresh placement and moves no replica without a gain. Cells that take no replicas keep
/// theirs.
pub fn rebalance(
    request: &Request<'_>,
    topology: &Topology,
    directives: &[Directive],
    previous: &BTreeMap<CellName, PreviousPlacement>,
    ledger: &Ledger,
) -> Outcome {
    let setting = Setting::new(request, topology, directives, previous, ledger);
    let wanted = i64::from(request.replicas.max(0));
    let mut hold = None;
    let anew = |setting: &Setting<'_>, seats: &[i64]| {
        Setting::new(request, topology, directives, &placed(setting, seats, previous), ledger)
    };
    let seats = rebalanced(request, &setting, wanted, anew, &mut hold);
    let after = Seating::new(&setting.seats, &setting.groups, &setting.spread, seats);
    explain(request, &setting, &after, wanted, hold, 0)
}

/// Converts seats to a previous placement. Pods that already run keep running.
fn placed(
    setting: &Setting<'_>,
    seats: &[i64],
    previous: &BTreeMap<CellName, PreviousPlacement>,
) -> BTreeMap<CellName, PreviousPlacement> {
    let bound = |name: &CellName| previous.get(name).map_or(0, |held| held.bound);
    let seated = setting.names.iter().zip(seats).filter(|(_, seats)| **seats > 0);
    seated
        .map(|(name, seats)| (name.clone(), PreviousPlacement { target: *seats as i32, bound: bound(name) }))
        .collect()
}

fn empty<'a>(setting: &'a Setting<'_>) -> Seating<'a> {
    Seating::new(&setting.seats, &setting.groups, &setting.spread, vec![0; setting.seats.len()])
}

fn fresh<'a>(setting: &'a Setting<'_>, wanted: i64, hold: &mut Option<String>) -> Seating<'a> {
    let mut seating = empty(setting);
    let nothing = seating.seats.clone();
    grow(&mut seating, wanted, &nothing);
    if let Some(why) = seating.uneven(wanted, Respect::Binding).or_else(|| blocked(&seating, wanted)) {
        *hold = Some(format!("{why}; add domains or capacity, or set whenUnsatisfiable: BestEffort"));
        return empty(setting);
    }
    seating
}

fn difference<'a>(before: &Seating<'a>, wanted: i64, lowered: bool, hold: &mut Option<String>) -> Seating<'a> {
    let mut after = before.clone();
    // Fewer replicas: seats that may not stay go first, so that they need not move. An unneeded seat runs, so it stays
    // unless the number was lowered or too many seats would survive a loss.
    if lowered || after.survivors() > wanted {
        let nothing = vec![0; after.seats.len()];
        give_back(&mut after, wanted, &nothing);
    }
    // Seats that the following steps do not take back.
    let base: Vec<i64> =
        after.seats.iter().zip(after.cells).map(|(seats, cell)| if cell.leaving { 0 } else { *seats }).collect();
    // Seats in leaving cells move as far as there is room. Evenness steers a move and does not stop it.
    let leaving: Vec<usize> = (0..after.seats.len()).filter(|cell| after.cells[*cell].leaving).collect();
    for cell in leaving {
        while after.seats[cell] > 0 {
            after.shift(cell, -1);
            let respects = [Respect::All, Respect::Binding, Respect::Nothing];
            if let Some(to) = respects.into_iter().find_map(|respect| after.next(respect)) {
                after.shift(to, 1)
            } else {
                after.shift(cell, 1);
                break;
            }
        }
    }
    // Over the new domains fewer seats may be enough. A moved seat that is not needed is dropped instead of moved.
    if after.survivors() > wanted {
        give_back(&mut after, wanted, &base);
    }
    let base = after.seats.clone();
    let placed = after.clone();
    grow(&mut after, wanted, &base);
    let lost = || after.uneven(wanted, Respect::Binding).filter(|_| after.is_exposed(wanted));
    if let Some(why) = blocked(&after, wanted).or_else(lost) {
        *hold = Some(format!("{why}; what runs stays. Add domains or capacity, or set whenUnsatisfiable: BestEffort"));
        return placed;
    }
    after
}

fn explain(
    request: &Request<'_>,
    setting: &Setting<'_>,
    after: &Seating<'_>,
    wanted: i64,
    hold: Option<String>,
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
        let placed = after.sum(index).least;
        if group.open && wanted > 0 && placed < group.min && after.total() > 0 {
            notes.push(format!("{} asks for at least {}, {placed} are placed", group.name, group.min));
        }
    }
    let spread = if setting.spread.is_empty() {
        Spread::NotAsked
    } else {
        match hold.clone().filter(|_| after.total() == 0).or_else(|| after.uneven(wanted, Respect::All)) {
            None => Spread::Satisfied,
            Some(why) => Spread::Violated(why),
        }
    };
    let shortfall = if after.enough(wanted) { 0 } else { missing(after, wanted) };
    let waiting: i64 =
        setting.seats.iter().zip(&after.seats).filter(|(seat, _)| seat.leaving).map(|(_, seats)| seats).sum();
    if waiting > 0 {
        notes.push(format!("{waiting} replicas wait for capacity where they may not stay"));
    }
    let total = after.total() as i32;
    let summary = summary(request, &targets, &cells, total, shortfall, hold.as_deref());
    Outcome {
        targets,
        wanted: total + shortfall,
        shortfall,
        waiting: waiting as i32,
        hold,
        spread,
        rebalance_needed: moves,
        notes,
        cells,
        summary,
    }
}

/// Returns the number of missing replicas, counting only replicas that survive a loss.
fn missing(after: &Seating<'_>, wanted: i64) -> i32 {
    (wanted - after.survivors()).max(0) as i32
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
