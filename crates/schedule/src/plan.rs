//! Decides, for each application of a batch: numbers, revisions, objects, floors. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use domain::decision_record::{DecisionRecord, rebalance_plan};
use domain::health::Failover;
use domain::motion::{CellRollout, Rollout, advance};
use domain::placement::{self, Directive, Eligibility, Held, InputDigest, Request, Rule};
use domain::stored_revision::StoredRevision;
use store::{AppId, PlacementChange, PlacementId, PlacementRow, Removal, ReservationRow, Wish};
use vocabulary::{AppKey, CellName, ContentHash, ObjectKey, Verdict};

use crate::gather::{AppFacts, Gathered};
use crate::guard::Deletes;
use crate::kept_world::Read;
use crate::objects::{Desired, Places, desired};
use crate::record::rows;
use crate::rows::{change_of, reconcile, row_settled};
use crate::world::World;

/// What is to be written for one application.
#[derive(Debug)]
pub(crate) struct AppPlan {
    pub(crate) app: AppId,
    pub(crate) key: AppKey,
    /// New record and the hash of what it was decided from, when either changed.
    pub(crate) record: Option<(ContentHash, DecisionRecord)>,
    /// Generation the placement is brought up to, when that is news.
    pub(crate) generation: Option<i64>,
    pub(crate) rebalance_done: Option<Vec<u8>>,
    pub(crate) inserts: Vec<Insert>,
    pub(crate) changes: Vec<PlacementChange>,
    pub(crate) forget: Vec<PlacementId>,
    pub(crate) reservations: Option<Vec<ReservationRow>>,
    /// What of the changes is a delete, for the mass-delete guard.
    pub(crate) deletes: Deletes,
    /// The wanted revision is fully ready.
    pub(crate) ready: Option<Vec<u8>>,
    /// Nothing is left of an application that is being removed.
    pub(crate) over: bool,
    /// The record as it stands, for problems found while writing.
    pub(crate) standing: (ContentHash, DecisionRecord),
}

/// An object to add, with the names it may take.
#[derive(Debug, Clone)]
pub(crate) struct Insert {
    pub(crate) row: store::PlacementInsert,
    pub(crate) names: Vec<String>,
}

impl AppPlan {
    fn empty(facts: &AppFacts) -> Self {
        Self {
            app: facts.row.id,
            key: facts.row.key.clone(),
            record: None,
            generation: None,
            rebalance_done: None,
            inserts: Vec::new(),
            changes: Vec::new(),
            forget: Vec::new(),
            reservations: None,
            deletes: Deletes::of(facts),
            ready: None,
            over: false,
            standing: facts.standing.clone(),
        }
    }

    /// Nothing is to be written.
    pub(crate) fn is_empty(&self) -> bool {
        self.record.is_none()
            && self.generation.is_none()
            && self.rebalance_done.is_none()
            && self.inserts.is_empty()
            && self.changes.is_empty()
            && self.forget.is_empty()
            && self.reservations.is_none()
    }
}

/// Plans a batch, one application after the other: each sees what those before it hold.
///
/// Returns the world with what they hold once their plans are written.
pub(crate) fn plan_batch(gathered: Gathered) -> (Vec<AppPlan>, Read) {
    let Gathered { world: mut read, apps } = gathered;
    let world = &mut read.world;
    let plans = apps
        .iter()
        .map(|facts| {
            let plan = match facts.row.removal {
                Some(removal) => removing(world, facts, removal),
                None => standing(world, facts),
            };
            if let Some(after) = &plan.reservations {
                world.rebook(&facts.held, after);
            }
            plan
        })
        .collect();
    (plans, read)
}

/// An application that is being removed: everything goes, in the order delivery gives it.
fn removing(world: &World, facts: &AppFacts, removal: Removal) -> AppPlan {
    let mut plan = AppPlan::empty(facts);
    let wish = match removal {
        Removal::Delete => Wish::Delete,
        Removal::Orphan => Wish::Orphan,
    };
    for row in &facts.rows {
        let over = facts.status.get(&row.id).is_some_and(|status| status.state.is_over());
        if over && row.wish != Wish::Present || world.is_gone(&row.cluster) {
            plan.forget.push(row.id);
        } else if row.wish != wish {
            plan.deletes.consider(world, row, wish);
            plan.changes.push(PlacementChange { target: 0, floor: 0, surge: 0, wish, ..change_of(row) });
        }
    }
    if !facts.held.is_empty() {
        plan.reservations = Some(Vec::new());
    }
    plan.over = plan.forget.len() == facts.rows.len();
    plan
}

fn standing(world: &World, facts: &AppFacts) -> AppPlan {
    let mut plan = AppPlan::empty(facts);
    let Some(wanted) = facts.revisions.get(&facts.wanted) else { return plan };
    plan.deletes.preview(plan.standing.1.previewed.iter().cloned());
    plan.generation = (facts.row.decided_generation != facts.row.generation).then_some(facts.row.generation);
    // Only what is divided can run elsewhere.
    let failover = match wanted.blueprint.divided {
        Some(_) => world.failover(facts.intent.failover_after),
        None => Failover::default(),
    };
    let numbers = numbers(world, facts, wanted, &failover, &mut plan);
    let mut places = Places { revisions: cell_revisions(world, facts, &numbers), cells: numbers };
    let same = alike(world, facts, wanted, &places);
    places.revisions.extend(same.into_iter().map(|cell| (cell, facts.wanted)));
    if let Some(next) = next_cell(world, facts, &places) {
        places.revisions.insert(next, facts.wanted);
    }
    let mut objects =
        desired(&world.topology, &places, facts.wanted, &facts.revisions, &facts.rows, facts.intent.suspended);
    // A cluster that is being removed gets nothing. What finds no other place stays there without us, or is deleted, as
    // the person who removes it said.
    objects.retain(|object| {
        let cluster = object.cluster.as_str();
        !world.is_abandoned(cluster) && !world.is_emptied(cluster)
    });
    reconcile(world, facts, &objects, &failover, &mut plan);
    reserve(world, facts, &objects, &mut plan);
    if plan.is_empty() && is_ready(world, facts, &places) {
        plan.ready = Some(facts.row.revision.clone());
    }
    plan
}

/// Cells that hold the application from now on, with the replicas of each.
fn numbers(
    world: &World,
    facts: &AppFacts,
    wanted: &StoredRevision,
    failover: &Failover,
    plan: &mut AppPlan,
) -> BTreeMap<CellName, i32> {
    let blueprint = &wanted.blueprint;
    let divided = blueprint.divided.map(|index| &blueprint.components[index]);
    let request = Request {
        app: &facts.row.key,
        replicas: facts.intent.wanted(),
        decided: plan.standing.1.inputs.replicas(),
        spec: &facts.intent.placement,
        pod: divided.map(|component| component.pod).unwrap_or_default(),
        kinds: &blueprint.kinds,
        accounts: &blueprint.accounts,
    };
    let directives: Vec<Directive> = world
        .directives
        .iter()
        .filter(|(app, _)| app.is_none_or(|app| app == facts.row.id))
        .map(|(_, directive)| directive.clone())
        .chain(failover.lost.iter().map(|(cluster, since)| Directive::failover(cluster, since)))
        .collect();
    let hash = placement::input_hash(&request, &world.topology, &directives);
    if divided.is_none() {
        return undivided(world, facts, &request, &directives, hash, plan);
    }
    let previous = previous(facts);
    let (standing_hash, standing) = plan.standing.clone();
    let asked =
        facts.row.rebalance_asked.as_deref().filter(|asked| Some(*asked) != facts.row.rebalance_done.as_deref());
    let mut targets: BTreeMap<CellName, i32> =
        previous.iter().map(|(cell, held)| (cell.clone(), held.target)).collect();
    if hash != standing_hash || standing.short || asked.is_some() || standing.frozen != failover.frozen {
        let ledger = world.ledger_without(&facts.held);
        // A cell that was left by a rebalance is remembered until it holds something again, or nothing at all.
        let mut previewed = standing.previewed.clone();
        let rebalanced = placement::rebalance(&request, &world.topology, &directives, &previous, &ledger);
        let mut outcome = placement::decide(&request, &world.topology, &directives, &previous, &ledger);
        if let Some(asked) = asked {
            // A plan that is not what would be done now is void: the person sees the new one in status.
            if rebalance_plan(&rebalanced).as_bytes() == asked {
                outcome = rebalanced.clone();
                outcome.summary = format!("rebalanced as asked: {}", outcome.summary);
                previewed.extend(emptied(&previous, &outcome.targets));
            }
            plan.rebalance_done = Some(asked.to_vec());
        }
        targets.clone_from(&outcome.targets);
        let offer = (outcome.rebalance_needed > 0).then_some(&rebalanced);
        let inputs = InputDigest::of(&request, &world.topology, &directives);
        let mut record = DecisionRecord::of(&outcome, hash, offer).made_from(inputs, &standing);
        record.problems.clone_from(&standing.problems);
        record.pending.clone_from(&standing.pending);
        record.frozen.clone_from(&failover.frozen);
        let leaving = |cell: &String| {
            targets.get(cell.as_str()).copied().unwrap_or(0) == 0 && facts.rows.iter().any(|row| row.cell == *cell)
        };
        record.previewed = previewed.into_iter().filter(leaving).collect();
        plan.deletes.preview(record.previewed.iter().cloned());
        if record != standing || hash != standing_hash {
            plan.record = Some((hash, record));
        }
    }
    let stays_at_zero = facts.intent.wanted() == 0;
    targets.retain(|cell, target| *target > 0 || stays_at_zero && previous.contains_key(cell));
    targets
}

/// Cells that held replicas and do not any more.
fn emptied<'a>(
    before: &'a BTreeMap<CellName, Held>,
    after: &'a BTreeMap<CellName, i32>,
) -> impl Iterator<Item = String> + use<'a> {
    let empty = |cell: &CellName| after.get(cell).copied().unwrap_or(0) == 0;
    before.iter().filter(move |(cell, held)| held.target > 0 && empty(cell)).map(|(cell, _)| cell.to_string())
}

fn previous(facts: &AppFacts) -> BTreeMap<CellName, Held> {
    let mut previous: BTreeMap<CellName, Held> = BTreeMap::new();
    for row in facts.rows.iter().filter(|row| row.divided && row.wish == Wish::Present) {
        let Ok(cell) = row.cell.parse() else { continue };
        let bound = facts.status.get(&row.id).map_or(0, |status| status.replicas);
        let held = previous.entry(cell).or_insert(Held { target: 0, bound: 0 });
        held.target += row.target;
        held.bound += bound;
    }
    previous
}

/// Where nothing is divided, every eligible cell holds the application; one that holds it keeps it unless it is no
/// longer meant.
fn undivided(
    world: &World,
    facts: &AppFacts,
    request: &Request<'_>,
    directives: &[Directive],
    hash: ContentHash,
    plan: &mut AppPlan,
) -> BTreeMap<CellName, i32> {
    let holding: BTreeSet<&str> = facts
        .rows
        .iter()
        .filter(|row| row.wish == Wish::Present)
        .flat_map(|row| [row.cell.as_str(), row.cluster.as_str()])
        .collect();
    let eligible = placement::eligible_cells(request, &world.topology, directives);
    let mut record = DecisionRecord { wanted: 0, ..DecisionRecord::default() };
    let mut cells = BTreeMap::new();
    for (cell, eligibility) in &eligible {
        let before = holding.contains(cell.as_str());
        let here = match eligibility {
            Eligibility::Eligible => true,
            Eligibility::Rejected(rejection) => before && !matches!(rejection.rule, Rule::NotSelected | Rule::Excluded),
        };
        if here {
            cells.insert(cell.clone(), 0);
        }
        let (verdict, note) = match eligibility {
            Eligibility::Eligible => ("Eligible".to_owned(), None),
            Eligibility::Rejected(rejection) => (rejection.rule.as_str().to_owned(), Some(rejection.message.clone())),
        };
        record.decision.cells.push(crds::application::v1alpha1::CellDecision {
            cell: cell.to_string(),
            before: i32::from(before),
            target: i32::from(here),
            verdict,
            note,
        });
    }
    record.decision.input_hash = hash.to_string();
    record.decision.summary = format!("nothing is divided: present in {} of {} cells", cells.len(), eligible.len());
    record.short = cells.is_empty();
    record = record.made_from(InputDigest::of(request, &world.topology, directives), &plan.standing.1);
    record.problems.clone_from(&plan.standing.1.problems);
    record.pending.clone_from(&plan.standing.1.pending);
    // Which cells held it before changes with every look; that alone is no new decision.
    let same = {
        let strip = |record: &DecisionRecord| {
            let mut record = record.clone();
            record.decision.cells.iter_mut().for_each(|cell| cell.before = 0);
            record
        };
        hash == plan.standing.0 && strip(&record) == strip(&plan.standing.1)
    };
    if !same {
        plan.record = Some((hash, record));
    }
    cells
}

/// Revision each cell is told to run.
fn cell_revisions(world: &World, facts: &AppFacts, cells: &BTreeMap<CellName, i32>) -> BTreeMap<CellName, ContentHash> {
    cells
        .keys()
        .map(|cell| {
            let cluster = world.topology.cells.get(cell).map(|facts| facts.cluster.as_str());
            let present = |cell| facts.rows_in(cell).find(|row| row.wish == Wish::Present);
            let row = present(cell.as_str()).or_else(|| present(cluster?));
            let revision = row.and_then(|row| ContentHash::from_bytes(&row.revision));
            (cell.clone(), revision.unwrap_or(facts.wanted))
        })
        .collect()
}

/// Cells that answer and run what differs from the wanted revision in nothing that restarts anything: they need not wait
/// for each other.
fn alike(world: &World, facts: &AppFacts, wanted: &StoredRevision, places: &Places) -> Vec<CellName> {
    let is_alike = |revision: &ContentHash| {
        let present = facts.revisions.get(revision);
        *revision != facts.wanted && present.is_some_and(|present| present.substance == wanted.substance)
    };
    let cells = places.revisions.iter().filter(|(_, revision)| is_alike(revision)).map(|(cell, _)| cell);
    cells.filter(|cell| settled(world, facts, cell) != Verdict::Unknown).cloned().collect()
}

fn next_cell(world: &World, facts: &AppFacts, places: &Places) -> Option<CellName> {
    let rollout: Vec<CellRollout> = places
        .revisions
        .iter()
        .map(|(cell, revision)| CellRollout {
            cell: cell.clone(),
            revision: *revision,
            settled: settled(world, facts, cell),
        })
        .collect();
    match advance(&rollout, facts.wanted) {
        Rollout::Advance(cell) => Some(cell),
        Rollout::Done | Rollout::WaitFor(_) => None,
    }
}

/// Whether everything told to a cell, and to its cluster, is delivered, worked out and available.
fn settled(world: &World, facts: &AppFacts, cell: &CellName) -> Verdict {
    let Some(cluster) = world.topology.cells.get(cell).map(|facts| facts.cluster.as_str()) else {
        return Verdict::Unknown;
    };
    if !world.is_fresh(cluster) {
        return Verdict::Unknown;
    }
    let of_cluster = facts.rows_in(cluster).filter(|row| row.cluster == cluster);
    let present = facts.rows_in(cell.as_str()).chain(of_cluster).filter(|row| row.wish == Wish::Present);
    let verdict =
        |row: &PlacementRow| facts.status.get(&row.id).map_or(Verdict::Unknown, |status| row_settled(row, status));
    Verdict::all(present.map(verdict))
}

fn is_ready(world: &World, facts: &AppFacts, places: &Places) -> bool {
    !places.revisions.is_empty()
        && places
            .revisions
            .iter()
            .all(|(cell, revision)| *revision == facts.wanted && settled(world, facts, cell) == Verdict::Pass)
}

fn reserve(world: &World, facts: &AppFacts, objects: &[Desired<'_>], plan: &mut AppPlan) {
    let mut books = BTreeMap::new();
    let floors: HashMap<PlacementId, i32> = plan.changes.iter().map(|change| (change.id, change.floor)).collect();
    let held = |object: &Desired<'_>| {
        let row = facts.rows_in(object.cell.as_str()).find(|row| object.is(row));
        row.map_or(0, |row| floors.get(&row.id).copied().unwrap_or(row.floor))
    };
    for object in objects {
        let replicas = object.target.max(held(object));
        placement::book(&mut books, &world.topology, &object.cell, object.component.pod, replicas);
    }
    let rows = rows(books);
    if rows != facts.held {
        plan.reservations = Some(rows);
    }
}

/// Names an object in a cluster.
pub(crate) type Place = (String, ObjectKey);
