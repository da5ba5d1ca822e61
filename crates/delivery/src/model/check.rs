//! Checks of the model: what must hold after every step, and once the model has settled.

use std::collections::BTreeMap;

use domain::decision_record::DecisionRecord;
use store::{AppId, DesiredState, ObjectState, PlacementRow};

use super::directives::drained_cells_are_empty;
use super::fleet;
use super::hub::{Hub, Written};
use super::member::{Member, id, is_managed, runs_pods};
use super::tables::Tables;
use super::world::World;

/// Replicas promised to each application.
///
/// The promise is the smaller of two numbers: the replicas available when the model last settled, and the replicas
/// wanted at any time since.
#[derive(Debug, Default)]
pub(super) struct Promises {
    promised: BTreeMap<String, i32>,
    /// Every `StatefulSet` that exists, by cluster and name, with its application.
    sets: BTreeMap<(usize, String), String>,
}

pub(super) fn available(members: &BTreeMap<usize, Member>, app: &str) -> i32 {
    members.values().map(|member| available_in(member, app)).sum()
}

fn available_in(member: &Member, app: &str) -> i32 {
    member
        .objects
        .iter()
        .filter(|((.., name), stored)| {
            is_main(name)
                && is_managed(&stored.value)
                && stored.value["metadata"]["labels"]["fleet.meridian.io/app"] == app
        })
        .map(|(_, stored)| stored.running)
        .sum()
}

/// Whether the name is that of a main workload. Sets beside it are checked by `keep_sets`.
fn is_main(name: &str) -> bool {
    !name.starts_with("set")
}

/// Number of replicas that the spec and the decision ask for.
fn wanted(written: &Written, tables: &Tables) -> i32 {
    let Some(row) = tables.apps.values().find(|row| row.key == written.key) else { return 0 };
    if row.removal.is_some() || written.suspended {
        return 0;
    }
    if written.is_divided() {
        return written.replicas;
    }
    let main = tables.placements_of(row.id).filter(|row| runs_pods(&row.object) && is_main(&row.object.name));
    // A placement that the member refuses runs no replicas that could be lost.
    let is_refused =
        |row: &&PlacementRow| tables.status.get(&row.id).is_some_and(|status| status.state == ObjectState::Refused);
    // A row of an earlier revision than its cell's makes room for a row that is counted.
    let cells = tables.cell_decisions.get(&row.id).map(Vec::as_slice).unwrap_or_default();
    let is_current = |row: &&PlacementRow| {
        cells.iter().find(|cell| cell.cell == row.cell).is_none_or(|cell| cell.revision == row.revision)
    };
    main.filter(is_current)
        .filter(|row| row.desired_state == DesiredState::Present)
        .filter(|row| !is_refused(row))
        .map(|row| row.target)
        .sum()
}

impl Promises {
    /// Checks that no promised replica was lost.
    pub(super) fn hold(&mut self, hub: &Hub, tables: &Tables, members: &BTreeMap<usize, Member>) -> Result<(), String> {
        let mut promised = BTreeMap::new();
        for written in hub.apps.values() {
            let name = &written.key.name;
            let least = self.promised.get(name).copied().unwrap_or(0).min(wanted(written, tables));
            let there = available(members, name);
            if there < least {
                let rows: Vec<String> = tables
                    .placements
                    .values()
                    .map(|row| {
                        format!(
                            "{} {} {}/{} {:?} epoch {}",
                            row.cluster, row.object.name, row.target, row.floor, row.desired_state, row.plan_epoch
                        )
                    })
                    .collect();
                return Err(format!("{there} of {name} are available, {least} were promised: {rows:#?}"));
            }
            promised.insert(name.clone(), least);
        }
        self.promised = promised;
        self.keep_sets(hub, tables, members)
    }

    /// Checks that a declared `StatefulSet` was removed only with its cluster or cell.
    fn keep_sets(&mut self, hub: &Hub, tables: &Tables, members: &BTreeMap<usize, Member>) -> Result<(), String> {
        let mut sets = BTreeMap::new();
        for (cluster, member) in members {
            for ((_, kind, _, name), stored) in &member.objects {
                if kind == "StatefulSet" && !is_main(name) && is_managed(&stored.value) {
                    let app = stored.value["metadata"]["labels"]["fleet.meridian.io/app"].as_str().unwrap_or_default();
                    if stored.value["metadata"].get("deletionTimestamp").is_none() {
                        sets.insert((*cluster, name.clone()), app.to_owned());
                    }
                }
            }
        }
        for ((cluster, name), app) in &self.sets {
            let stays = sets.contains_key(&(*cluster, name.clone()));
            let declared = hub.apps.values().any(|written| written.key.name == *app && written.declares_set(name));
            let joined = tables.clusters.get(&fleet::name(*cluster)).is_some_and(|row| row.taken.removal.is_none());
            // Deleting a Cell removes what the application no longer places there.
            let kept = tables.cells.values().all(|cell| !cell.leaving || !name.ends_with(&cell.name));
            let cell_there = tables.cells.values().any(|cell| cell.spec.is_some() && name.ends_with(&cell.name));
            let in_cell = name.contains("-x") || name.contains("-y");
            if !stays && declared && joined && kept && (cell_there || !in_cell) {
                return Err(format!("StatefulSet {name} of {app} went from {}", fleet::name(*cluster)));
            }
        }
        self.sets = sets;
        Ok(())
    }

    /// Lowers the promises after a release, because replicas of released objects are no longer counted.
    pub(super) fn lower_to_available(&mut self, members: &BTreeMap<usize, Member>) {
        for (name, promised) in &mut self.promised {
            *promised = (*promised).min(available(members, name));
        }
        self.sets.clear();
    }

    /// Lowers the promises when a cluster is removed with its workloads.
    ///
    /// The replicas that run in other clusters, and that rows there ask for, stay promised.
    pub(super) fn lower_to_elsewhere(&mut self, tables: &Tables, members: &BTreeMap<usize, Member>, leaving: usize) {
        let cluster = fleet::name(leaving);
        for (name, promised) in &mut self.promised {
            let there = members.get(&leaving).map_or(0, |member| available_in(member, name));
            let app = tables.apps.values().find(|row| row.key.name == *name);
            let rows = app.into_iter().flat_map(|app| tables.placements_of(app.id));
            let rendered_elsewhere: i32 = rows.filter(|row| row.cluster != cluster).map(PlacementRow::rendered).sum();
            *promised = (*promised).min(available(members, name) - there).min(rendered_elsewhere);
        }
    }

    /// Drops the promise of an application.
    pub(super) fn drop(&mut self, app: &str) {
        self.promised.remove(app);
    }

    /// Drops all promises until the model settles again.
    pub(super) fn drop_all(&mut self) {
        self.promised.clear();
        self.sets.clear();
    }

    /// Promises the replicas that are available now that the model has settled.
    pub(super) fn renew(&mut self, hub: &Hub, tables: &Tables, members: &BTreeMap<usize, Member>) {
        self.promised = hub
            .apps
            .values()
            .map(|written| {
                let name = &written.key.name;
                (name.clone(), available(members, name).min(wanted(written, tables)))
            })
            .collect();
    }
}

/// Lists rows and objects for a failure message.
pub(super) fn describe(world: &World<'_>) -> String {
    let mut lines = Vec::new();
    for row in world.tables.apps.values() {
        let record = record(world, row.id);
        lines.push(format!(
            "{} generation {} decided {} {:?} short {} hold {:?} wanted {} problems {:?} pending {:?} {}",
            row.key,
            row.generation,
            row.decided_generation,
            row.removal,
            record.short,
            record.hold,
            record.wanted,
            record.problems,
            record.pending,
            record.decision.summary
        ));
        lines.push(format!("  wanted revision {}", row.revision.short()));
        for cell in world.tables.cell_decisions.get(&row.id).into_iter().flatten() {
            lines.push(format!("  cell {} target {} revision {}", cell.cell, cell.target, cell.revision.short()));
        }
        for row in world.tables.placements_of(row.id) {
            let status = world.tables.status.get(&row.id);
            lines.push(format!(
                "  row {} {} {} cell {} component {} divided {} target {} floor {} {:?} epoch {} revision {} status {:?}",
                row.id, row.cluster, row.object, row.cell, row.component, row.divided, row.target, row.floor, row.desired_state,
                row.plan_epoch, row.revision.short(),
                status.map(|s| (s.state, s.applied_epoch, s.observed_epoch, s.available, s.settled, s.message.clone()))
            ));
        }
    }
    for (cluster, member) in &world.members {
        for ((_, kind, _, name), stored) in &member.objects {
            lines.push(format!(
                "  {} has {kind} {name} managed {} replicas {} running {} deleting {}",
                fleet::name(*cluster),
                is_managed(&stored.value),
                stored.value["spec"]["replicas"],
                stored.running,
                stored.value["metadata"].get("deletionTimestamp").is_some()
            ));
        }
    }
    lines.join("\n")
}

fn record(world: &World<'_>, app: AppId) -> DecisionRecord {
    let stored = world.tables.apps[&app].decision.clone();
    stored.map_or_else(DecisionRecord::default, |stored| serde_json::from_value(stored).unwrap())
}

/// Checks the state of the settled model.
pub(super) fn at_rest(world: &World<'_>) -> Result<(), String> {
    let broken = |why: String| Err(format!("at rest: {why}\n{}", describe(world)));
    for written in world.hub.apps.values() {
        let Some(app) = world.tables.apps.values().find(|row| row.key == written.key) else {
            return broken(format!("{} is not stored", written.key));
        };
        if app.decided_generation != app.generation {
            return broken(format!("{} was not decided", written.key));
        }
        if let Err(why) = application(world, written, app.id) {
            return broken(format!("{}: {why}", written.key));
        }
    }
    if let Some(app) = world.tables.apps.values().find(|row| row.removal.is_some()) {
        return broken(format!("{} is removed and still there", app.key));
    }
    let waits = |cell: &&store::CellDecisionRow| cell.inputs != cell.inputs_wanted;
    // Without an object, new inputs of a cell cannot be applied anywhere.
    let is_refused = |row: &PlacementRow| {
        world.tables.status.get(&row.id).is_some_and(|status| status.state == ObjectState::Refused)
    };
    // A refused object holds up the cells after its own.
    let is_held_up =
        |app: AppId| !record(world, app).problems.is_empty() || world.tables.placements_of(app).any(is_refused);
    let placed = world.tables.cell_decisions.iter().filter(|(app, _)| !is_held_up(**app));
    if let Some(cell) = placed.flat_map(|(_, cells)| cells).find(waits) {
        return broken(format!("cell {} waits to take what it is now", cell.cell));
    }
    if let Err(why) = labelled(world) {
        return broken(why);
    }
    match objects(world) {
        Ok(()) => Ok(()),
        Err(why) => broken(why),
    }
}

fn application(world: &World<'_>, written: &Written, app: AppId) -> Result<(), String> {
    let record = record(world, app);
    let cells = world.tables.cell_decisions.get(&app).cloned().unwrap_or_default();
    let decided: i32 = cells.iter().map(|cell| cell.target).sum();
    if written.is_divided() && record.hold.is_none() {
        let wanted = if written.suspended { 0 } else { written.replicas };
        if record.wanted != wanted {
            return Err(format!("{wanted} are asked for, {} wanted", record.wanted));
        }
        if decided != record.wanted - record.decision.shortfall {
            return Err(format!(
                "{decided} are decided, {} wanted, {} short",
                record.wanted, record.decision.shortfall
            ));
        }
    }
    let rows: Vec<_> = world.tables.placements_of(app).collect();
    // A row that waits for a person blocks its successors, and everything in place stays.
    let waits = |row: &&PlacementRow| {
        world.tables.status.get(&row.id).is_some_and(|status| status.state == ObjectState::Refused)
    };
    let wanted_revision = &world.tables.apps[&app].revision;
    let is_by_release = written.by_release || world.tables.released(app).next().is_some();
    let blocked = !record.problems.is_empty() || rows.iter().any(waits);
    for cell in cells.iter().filter(|cell| cell.target > 0) {
        let placed: i32 = rows
            .iter()
            .filter(|row| {
                row.divided
                    && row.cell == cell.cell
                    && row.slot == cell.slot
                    && row.desired_state == DesiredState::Present
            })
            .map(|row| row.target)
            .sum();
        let named = record.problems.iter().any(|problem| cell.cell.starts_with(problem.cluster.as_str()));
        // A cell that still runs another revision waits for the cells before it, or for a release.
        let waits_its_turn = (blocked || is_by_release)
            && rows.iter().any(|row| row.cell == cell.cell && row.revision != *wanted_revision);
        if placed != cell.target && !named && !waits_its_turn {
            return Err(format!("{} of cell {} are decided, {placed} have an object", cell.target, cell.cell));
        }
    }
    let topology = world.topology();
    drained_cells_are_empty(&world.tables, &topology, written, app, &record)?;
    // A directive keeps the replicas of such a row where they are, and the objects that they need.
    let keeps_floor =
        |cluster: &str| rows.iter().any(|row| row.cluster == cluster && world.tables.is_held(&topology, row));
    for row in &rows {
        if row.desired_state != DesiredState::Present {
            return Err(format!("{} in {} still leaves", row.object, row.cluster));
        }
        let decided = cells.iter().any(|cell| cell.cell == row.cell)
            || cells.iter().any(|cell| cell.cell.starts_with(row.cluster.as_str())) && row.cell == row.cluster;
        // Replicas without a place elsewhere are kept where they were, and the decision reports itself short.
        let kept = record.short && (row.floor > row.target || !row.divided);
        let kept = kept || keeps_floor(&row.cluster) && (!row.divided || world.tables.is_held(&topology, row));
        if !decided && !blocked && !kept {
            return Err(format!("{} in {} is there without a decision", row.object, row.cluster));
        }
        let refused = world.tables.status.get(&row.id).is_some_and(|status| status.state == ObjectState::Refused);
        if row.floor > row.target && !blocked && !kept {
            return Err(format!("{} in {} holds a floor of {}", row.object, row.cluster, row.floor));
        }
        if refused {
            continue;
        }
        let cluster = (0..4).find(|cluster| fleet::name(*cluster) == row.cluster).unwrap();
        let Some(stored) = world.members[&cluster].objects.get(&id(&row.object)) else {
            if blocked {
                continue;
            }
            return Err(format!("{} is not in {}", row.object, row.cluster));
        };
        let replicas = stored.value["spec"]["replicas"].as_i64();
        if row.divided && replicas != Some(i64::from(row.rendered())) && !blocked {
            return Err(format!("{} in {} runs {replicas:?}, told {}", row.object, row.cluster, row.rendered()));
        }
    }
    Ok(())
}

/// Checks that main workloads carry the labels that the override rule gives them in their cell.
///
/// Applications with a problem, an older revision or a refused row are skipped.
fn labelled(world: &World<'_>) -> Result<(), String> {
    for written in world.hub.apps.values() {
        let Some(app) = world.tables.apps.values().find(|row| row.key == written.key) else { continue };
        let wanted = &app.revision;
        let rows = world.tables.placements_of(app.id).filter(|row| row.component == written.component_name());
        let held_up = |row: &PlacementRow| {
            row.revision != *wanted
                || world.tables.status.get(&row.id).is_some_and(|status| status.state == ObjectState::Refused)
        };
        if !record(world, app.id).problems.is_empty() || world.tables.placements_of(app.id).any(held_up) {
            continue;
        }
        for row in rows {
            let cluster = (0..4).find(|cluster| fleet::name(*cluster) == row.cluster).unwrap();
            let labels = if row.cell == row.cluster {
                world.tables.clusters.get(&row.cluster).map(|row| &row.taken.labels)
            } else {
                world.tables.cells.get(&row.cell).map(|cell| &cell.labels)
            };
            let (Some(labels), Some(stored)) = (labels, world.members[&cluster].objects.get(&id(&row.object))) else {
                continue;
            };
            let found = stored.value["metadata"]["labels"].get("tier");
            if found != labels.get("tier") {
                return Err(format!("{} in {} has {found:?} where the cell has {labels}", row.object, row.cell));
            }
        }
    }
    Ok(())
}

/// Checks that every managed object has a row.
fn objects(world: &World<'_>) -> Result<(), String> {
    for (cluster, member) in &world.members {
        let name = fleet::name(*cluster);
        if !world.tables.clusters.contains_key(&name) {
            continue;
        }
        for (object, _) in member.objects.iter().filter(|(_, stored)| is_managed(&stored.value)) {
            if !world.tables.placements.values().any(|row| row.cluster == name && id(&row.object) == *object) {
                return Err(format!("{} {} in {name} belongs to nobody", object.1, object.3));
            }
        }
    }
    Ok(())
}
