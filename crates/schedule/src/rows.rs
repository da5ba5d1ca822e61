//! Brings rows from what they are to what they are to be: raise before lower, and nothing goes that is needed. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use crds::application::v1alpha1::Scope;
use domain::health::Failover;
use domain::motion::{RowFacts, floors_after_decision, lower_floors};
use domain::stored_revision::StoredRevision;
use store::{ObjectState, PlacementChange, PlacementId, PlacementRow, StatusRow, Wish};
use vocabulary::{ContentHash, Verdict};

use crate::gather::AppFacts;
use crate::objects::Desired;
use crate::plan::{AppPlan, Insert};
use crate::world::World;

/// A row's present values.
pub(crate) fn change_of(row: &PlacementRow) -> PlacementChange {
    PlacementChange {
        id: row.id,
        target: row.target,
        floor: row.floor,
        surge: row.surge,
        revision: row.revision.clone(),
        wish: row.wish,
    }
}

/// Whether what a row tells is delivered, worked out and available.
pub(crate) fn row_settled(row: &PlacementRow, status: &StatusRow) -> Verdict {
    let told = status.state == ObjectState::Applied
        && status.applied_epoch == row.plan_epoch
        && status.observed_epoch == row.plan_epoch
        && status.applied_revision.as_deref() == Some(row.revision.as_slice());
    let there = status.settled && (!row.divided || status.available >= row.rendered());
    if told && there { Verdict::Pass } else { Verdict::Fail }
}

/// Brings rows from what they are to what they are to be.
pub(crate) fn reconcile(
    world: &World,
    facts: &AppFacts,
    objects: &[Desired<'_>],
    failover: &Failover,
    plan: &mut AppPlan,
) {
    let mut wanted: BTreeMap<PlacementId, &Desired<'_>> = BTreeMap::new();
    for object in objects {
        match facts.rows_in(object.cell.as_str()).find(|row| object.is(row) && !wanted.contains_key(&row.id)) {
            Some(row) => {
                wanted.insert(row.id, object);
            }
            None => plan.inserts.push(insert_of(facts, object)),
        }
    }
    let coming =
        plan.inserts.iter().filter(|insert| insert.row.divided).map(|insert| i64::from(insert.row.target)).sum();
    let floors = floors(world, facts, &wanted, coming);
    for row in &facts.rows {
        let status = facts.status.get(&row.id);
        let over = status.is_some_and(|status| status.state.is_over());
        let floor = floors.get(&row.id).copied().unwrap_or(row.floor);
        // A fence in the member that is not below the row's own: the row is written anew, which raises it above that one.
        let is_outrun = status.is_some_and(|status| status.found_epoch >= row.plan_epoch);
        let mut next = change_of(row);
        match wanted.get(&row.id) {
            Some(object) => {
                if row.wish != Wish::Present && over {
                    // What was there is gone; the same object is wanted again: a new row begins from nothing.
                    plan.forget.push(row.id);
                    continue;
                }
                next.target = object.target;
                next.floor = if object.divided { floor } else { 0 };
                next.revision = object.revision.as_bytes().to_vec();
                next.wish = Wish::Present;
            }
            None if world.is_gone(&row.cluster) => {
                plan.forget.push(row.id);
                continue;
            }
            None if row.wish != Wish::Present => {
                if over {
                    plan.forget.push(row.id);
                    continue;
                }
            }
            None => leave(world, facts, row, floor, failover, &mut next),
        }
        if is_outrun || next != change_of(row) {
            if next.wish != Wish::Present && row.wish == Wish::Present {
                plan.deletes.consider(world, row, next.wish);
            }
            plan.changes.push(next);
        }
    }
}

/// A row that is not wanted any more: what runs goes when its successors are available, the rest when what needs it
/// is gone.
fn leave(
    world: &World,
    facts: &AppFacts,
    row: &PlacementRow,
    floor: i32,
    failover: &Failover,
    next: &mut PlacementChange,
) {
    next.target = 0;
    if world.is_abandoned(&row.cluster) {
        next.floor = 0;
        next.wish = Wish::Orphan;
        return;
    }
    if world.is_unknown(&row.cell) {
        // Whoever cannot read where it is placed does not know that it is to go.
        next.target = row.target;
        return;
    }
    let lost = failover.lost.iter().any(|(cluster, _)| cluster.as_str() == row.cluster);
    if row.divided {
        next.floor = floor;
        if floor == 0 && !lost {
            next.wish = Wish::Delete;
        }
        return;
    }
    next.floor = 0;
    if lost || stays_put(world, facts, row) || is_needed(facts, row) {
        // Nothing is deleted in a cluster that is silent.
        next.target = row.target;
    } else {
        next.wish = Wish::Delete;
    }
}

/// What has its own identity, or runs once, is never moved: it stays where it is until a person removes it.
fn stays_put(world: &World, facts: &AppFacts, row: &PlacementRow) -> bool {
    let declares =
        |revision: &Arc<StoredRevision>| revision.blueprint.components.iter().any(|c| c.name == row.component);
    let once = scope(facts, row) == Some(Scope::Once);
    let still_declared = facts.revisions.get(&facts.wanted).is_none_or(declares);
    still_declared
        && (once || row.object.kind == "StatefulSet" && world.is_drained(&row.cluster))
        && !world.is_emptied(&row.cluster)
}

/// How often the component of a row is there, by the revision that the row is told.
fn scope(facts: &AppFacts, row: &PlacementRow) -> Option<Scope> {
    let revision = ContentHash::from_bytes(&row.revision).and_then(|hash| facts.revisions.get(&hash))?;
    let component = revision.blueprint.components.iter().find(|component| component.name == row.component)?;
    Some(component.scope)
}

/// A workload beside it was declared together with it and still runs.
fn is_needed(facts: &AppFacts, row: &PlacementRow) -> bool {
    // What is there once for each cell is used in that cell.
    let of_cell = scope(facts, row) == Some(Scope::PerCell);
    facts.rows.iter().any(|other| {
        let beside = other.cluster == row.cluster && (other.cell == row.cell || !of_cell);
        let runs = other.rank >= row.rank && other.divided && other.rendered() > 0;
        beside && runs && other.id != row.id && relies_on(facts, other, &row.component)
    })
}

/// What runs for a row, or is told to, was declared together with the component.
fn relies_on(facts: &AppFacts, row: &PlacementRow, component: &str) -> bool {
    let declares = |revision: &[u8]| {
        let revision = ContentHash::from_bytes(revision).and_then(|hash| facts.revisions.get(&hash));
        revision.is_none_or(|revision| revision.blueprint.components.iter().any(|known| known.name == component))
    };
    let applied = facts.status.get(&row.id).and_then(|status| status.applied_revision.as_deref());
    // The previous revision may run as long as the new one is not worked out.
    let settled = facts.status.get(&row.id).is_some_and(|status| row_settled(row, status) == Verdict::Pass);
    declares(&row.revision) || !settled && applied.is_none_or(declares)
}

fn insert_of(facts: &AppFacts, object: &Desired<'_>) -> Insert {
    let name = object.names.first().cloned().unwrap_or_else(|| object.component.object_name.clone());
    Insert {
        row: store::PlacementInsert {
            component: object.component.name.clone(),
            cell: object.cell.to_string(),
            cluster: object.cluster.to_string(),
            object: object.key(&facts.row.key.namespace, &name),
            rank: object.component.rank,
            divided: object.divided,
            target: object.target,
            revision: object.revision.as_bytes().to_vec(),
        },
        names: object.names.clone(),
    }
}

/// Floors of the rows of the Divided component.
fn floors(
    world: &World,
    facts: &AppFacts,
    wanted: &BTreeMap<PlacementId, &Desired<'_>>,
    coming: i64,
) -> BTreeMap<PlacementId, i32> {
    let divided: Vec<&PlacementRow> =
        facts.rows.iter().filter(|row| row.divided && row.wish == Wish::Present).collect();
    let available = |row: &PlacementRow| {
        let status = facts.status.get(&row.id).filter(|status| !status.stale)?;
        (world.is_fresh(&row.cluster) && status.observed_epoch == row.plan_epoch).then_some(status.available)
    };
    let seen = |row: &PlacementRow| {
        let status = facts.status.get(&row.id);
        let fresh = world.is_fresh(&row.cluster) && !status.is_some_and(|status| status.stale);
        fresh.then(|| status.map_or(0, |status| status.available))
    };
    let rows: Vec<RowFacts> = divided
        .iter()
        .map(|row| RowFacts {
            id: row.id,
            target: row.target,
            floor: row.floor,
            available: available(row),
            seen: seen(row),
        })
        .collect();
    let new_target = |id: PlacementId| wanted.get(&id).map_or(0, |object| object.target);
    let mut floors: BTreeMap<PlacementId, i32> = rows.iter().map(|row| (row.id, row.floor)).collect();
    let changes = if rows.iter().any(|row| row.target != new_target(row.id)) {
        floors_after_decision(&rows, coming, new_target)
    } else {
        lower_floors(&rows, coming)
    };
    floors.extend(changes.into_iter().map(|change| (change.id, change.floor)));
    floors
}
