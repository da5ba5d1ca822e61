//! Plans how placement rows change to match the decision. Pure.
//!
//! Replicas are raised before other replicas are lowered, and no object is deleted while a workload needs it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crds::application::v1alpha1::Scope;
use domain::failover::FailoverDecision;
use domain::placement::Directive;
use domain::render::ComponentPlan;
use domain::stored_revision::StoredRevision;
use store::{DesiredState, PlacementChange, PlacementId, PlacementRow};
use vocabulary::{CellName, ContentHash, Verdict};

use crate::app_plan::{AppPlan, Insert};
use crate::cells::{CellPlan, has_identity, keeps_identities};
use crate::families::{DIVIDED, Families, Family};
use crate::fleet_snapshot::FleetSnapshot;
use crate::floors::plan_floors;
use crate::gather::AppSnapshot;
use crate::identity::{declares, is_of_component};
use crate::matching::Matching;
use crate::objects::Desired;
use crate::placement_rows::settled_verdict;

/// Decision about one row.
enum Fate<'o, 'a> {
    /// The row represents this object, which is to exist.
    Wanted(&'o Desired<'a>),
    /// The row keeps its values; only its floor may change.
    Stays,
    /// The replicas leave as other replicas become available, then the object is deleted.
    ///
    /// The target is 0 and the floor falls. At floor 0 the object is deleted, unless its cluster is silent.
    Shrinks { silent: bool },
    /// The object is deleted.
    Deleted,
    /// The object stays in the member and is no longer managed.
    Orphaned,
    /// The row is removed, because its object is gone or released.
    Forgotten,
}

/// Decided numbers of the Divided component.
#[derive(Debug)]
pub(crate) struct DividedTotals<'a> {
    pub(crate) cells: &'a BTreeMap<CellName, CellPlan>,
    /// Replicas decided for all cells, without clusters that a person removes.
    pub(crate) replicas: i64,
    /// Replicas asked for, of which some may have found no place.
    ///
    /// 0 where the wanted revision divides nothing.
    pub(crate) wanted: i32,
}

/// Plans the inserts, changes and removals of an application's rows and adds them to `plan`.
pub(crate) fn reconcile(
    snapshot: &FleetSnapshot,
    facts: &AppSnapshot,
    objects: &[Desired<'_>],
    failover: &FailoverDecision,
    decided: &DividedTotals<'_>,
    plan: &mut AppPlan,
) {
    let matching = Matching::of(facts, objects);
    let families = Families::of(facts);
    let fates = Fates { snapshot, facts, failover, cells: decided.cells, families: &families, matching: &matching };
    let fates: Vec<(&PlacementRow, Fate<'_, '_>)> = facts.rows.iter().map(|row| (row, fates.of(row))).collect();
    let again = fates.iter().filter_map(|(row, fate)| match fate {
        // The object is gone and the same object is wanted again. The new row starts without the old row's state.
        Fate::Forgotten => matching.object_of(row.id),
        _ => None,
    });
    let missing: Vec<&Desired<'_>> = matching.missing.iter().copied().chain(again).collect();
    let mut coming: BTreeMap<Family, i64> = BTreeMap::new();
    for object in &missing {
        if let Some(family) = families.of_object(object) {
            *coming.entry(family).or_default() += i64::from(object.target);
        }
    }
    plan.inserts.extend(missing.into_iter().map(|object| insert_of(facts, object)));

    let mut counted: BTreeMap<Family, Vec<&PlacementRow>> = BTreeMap::new();
    for (row, fate) in &fates {
        let family = match fate {
            Fate::Wanted(object) => families.of_row(snapshot, facts, row).or_else(|| families.of_object(object)),
            Fate::Stays | Fate::Shrinks { .. } if row.desired_state == DesiredState::Present => {
                families.of_row(snapshot, facts, row)
            }
            _ => None,
        };
        if let Some(family) = family {
            counted.entry(family).or_default().push(row);
        }
    }
    let targets: HashMap<PlacementId, i32> = fates
        .iter()
        .map(|(row, fate)| match fate {
            Fate::Wanted(object) => (row.id, object.target),
            Fate::Stays => (row.id, row.target),
            _ => (row.id, 0),
        })
        .collect();
    let target_after = |id| targets.get(&id).copied().unwrap_or(0);
    let mut floors: BTreeMap<PlacementId, i32> = BTreeMap::new();
    for (family, rows) in &counted {
        let mut coming = coming.get(family).copied().unwrap_or(0);
        if *family == DIVIDED {
            // Some replicas get rows later: in cells that still run a revision that does not divide, or when they find
            // a place.
            let planned: i64 = rows.iter().map(|row| i64::from(target_after(row.id))).sum();
            let promised = promise(rows, target_after, decided.wanted, plan);
            coming += (decided.replicas.max(promised) - planned - coming).max(0);
        }
        floors.extend(plan_floors(snapshot, facts, rows, coming, target_after));
    }
    let held = |(row, _): &(&PlacementRow, Fate<'_, '_>)| {
        let stays = floors.get(&row.id).is_some_and(|floor| *floor > target_after(row.id));
        stays.then(|| snapshot.hold_of(row.app, &row.cell)).flatten()
    };
    record_hold(fates.iter().find_map(held), plan);
    for (row, fate) in &fates {
        let floor = floors.get(&row.id).copied();
        // The fence found in the member is not below the row's own. Writing the row again raises its plan epoch above
        // that fence.
        let is_outrun = facts.status.get(&row.id).is_some_and(|status| status.found_epoch >= row.plan_epoch);
        match next(row, fate, floor) {
            Some(next) if is_outrun || next != PlacementChange::of(row) => {
                if next.desired_state != DesiredState::Present
                    && row.desired_state == DesiredState::Present
                    && !is_replaced(&counted, &matching, row)
                {
                    plan.deletes.consider(snapshot, &facts.cells, row, next.desired_state);
                }
                plan.changes.push(next);
            }
            Some(_) => {}
            None => plan.forget.push(row.id),
        }
    }
}

/// Returns whether another object of the row's family runs in the same cell, as after a rename.
///
/// The row was lowered to zero only because that object is available, so its delete needs no confirmation. A
/// `StatefulSet` is more than its replicas: its successor does not have its volumes, so its delete still counts.
fn is_replaced(
    counted: &BTreeMap<Family, Vec<&PlacementRow>>,
    matching: &Matching<'_, '_>,
    row: &PlacementRow,
) -> bool {
    let family = counted.values().find(|rows| rows.iter().any(|other| other.id == row.id));
    !has_identity(&row.object.kind)
        && family.is_some_and(|rows| {
            rows.iter().any(|other| {
                other.cell == row.cell && matching.object_of(other.id).is_some_and(|object| object.target > 0)
            })
        })
}

/// Returns how many replicas stay available while rows of the Divided component move.
///
/// This is the sum of the targets when the move began, but at most `wanted`. The record stores the number, because rows
/// that move do not show it.
fn promise(rows: &[&PlacementRow], target_after: impl Fn(PlacementId) -> i32, wanted: i32, plan: &mut AppPlan) -> i64 {
    let (_, record) = plan.record.as_ref().unwrap_or(&plan.last_decision);
    let is_moving = rows.iter().any(|row| row.floor > row.target);
    let begins = !is_moving && rows.iter().any(|row| target_after(row.id) != row.target);
    let current: i64 = rows.iter().map(|row| i64::from(row.target)).sum();
    let promised = if begins { i32::try_from(current).unwrap_or(i32::MAX) } else { record.promised }.min(wanted);
    if begins && record.promised != promised {
        let (_, record) = plan.record.get_or_insert_with(|| plan.last_decision.clone());
        record.promised = promised;
    }
    i64::from(promised)
}

/// Records the directive that keeps a floor from being lowered, for status.
fn record_hold(directive: Option<&Directive>, plan: &mut AppPlan) {
    let hold = directive.map(|directive| format!("{} holds them: {}", directive.title(), directive.reason));
    let (_, record) = plan.record.as_ref().unwrap_or(&plan.last_decision);
    if record.floor_hold != hold {
        let (_, record) = plan.record.get_or_insert_with(|| plan.last_decision.clone());
        record.floor_hold = hold;
    }
}

/// Returns the new values of a row, or `None` when the row is removed.
fn next(row: &PlacementRow, fate: &Fate<'_, '_>, floor: Option<i32>) -> Option<PlacementChange> {
    let present = PlacementChange::of(row);
    Some(match fate {
        Fate::Forgotten => return None,
        Fate::Wanted(object) => PlacementChange {
            component: object.component.name.clone(),
            api_version: object.component.api_version.clone(),
            rank: object.component.rank,
            divided: object.divided,
            target: object.target,
            floor: floor.unwrap_or(0),
            revision: object.revision,
            inputs: Some(object.inputs.clone()),
            desired_state: DesiredState::Present,
            ..present
        },
        Fate::Stays => PlacementChange { floor: floor.unwrap_or(row.floor), ..present },
        Fate::Shrinks { silent } => {
            let floor = floor.unwrap_or(0);
            let desired_state = if floor == 0 && !silent { DesiredState::Delete } else { DesiredState::Present };
            PlacementChange { target: 0, floor, desired_state, ..present }
        }
        Fate::Deleted => PlacementChange { target: 0, floor: 0, desired_state: DesiredState::Delete, ..present },
        Fate::Orphaned => PlacementChange { target: 0, floor: 0, desired_state: DesiredState::Orphan, ..present },
    })
}

/// Inputs from which the [`Fate`] of each row is decided.
struct Fates<'f, 'o, 'a> {
    snapshot: &'f FleetSnapshot,
    facts: &'f AppSnapshot,
    failover: &'f FailoverDecision,
    cells: &'f BTreeMap<CellName, CellPlan>,
    families: &'f Families<'f>,
    matching: &'f Matching<'o, 'a>,
}

impl<'o, 'a> Fates<'_, 'o, 'a> {
    fn of(&self, row: &PlacementRow) -> Fate<'o, 'a> {
        let over = self.facts.status.get(&row.id).is_some_and(|status| status.state.is_over());
        let leaving = row.desired_state != DesiredState::Present;
        if let Some(object) = self.matching.object_of(row.id) {
            return if leaving && over { Fate::Forgotten } else { Fate::Wanted(object) };
        }
        if self.snapshot.is_gone(&row.cluster) || leaving && over {
            return Fate::Forgotten;
        }
        if leaving {
            return Fate::Stays;
        }
        self.of_unwanted(row)
    }

    /// Decides about a row whose object is no longer wanted.
    ///
    /// Replicas go when their successors are available. Other objects go when no workload needs them.
    fn of_unwanted(&self, row: &PlacementRow) -> Fate<'o, 'a> {
        if self.snapshot.is_abandoned(&row.cluster) {
            return Fate::Orphaned;
        }
        if self.snapshot.is_unknown(&row.cell) {
            // The row's cell cannot be read, so the scheduler cannot decide that the object is to go.
            return Fate::Stays;
        }
        let silent = self.failover.lost.iter().any(|(cluster, _)| cluster.as_str() == row.cluster);
        if self.has_unsettled_successor(row) || has_identity(&row.object.kind) && self.stays_put(row) {
            return Fate::Stays;
        }
        if self.families.of_row(self.snapshot, self.facts, row).is_some() && !self.goes_with_cluster(row) {
            return Fate::Shrinks { silent };
        }
        // The scheduler deletes no object in a silent cluster.
        if silent || self.stays_put(row) || self.is_needed(row) { Fate::Stays } else { Fate::Deleted }
    }

    /// Returns whether a successor in this cluster is not settled, and one of the two is a `DaemonSet`.
    ///
    /// A successor of a workload is another workload with its component name or object name, or one that an edit under
    /// way put in its place. Nodes decide how many pods a `DaemonSet` runs, so its replicas are not counted against the
    /// row's.
    fn has_unsettled_successor(&self, row: &PlacementRow) -> bool {
        if !self.component(row).is_some_and(|component| component.workload) {
            return false;
        }
        let is_daemon = |kind: &str| kind == "DaemonSet";
        let takes_place = |object: &Desired<'_>| {
            object.component.name == row.component
                || object.component.object_name == row.object.name
                || self.families.is_successor(&object.component.name, &row.component)
        };
        let succeeds = |object: &Desired<'_>| {
            object.cluster.as_str() == row.cluster
                && takes_place(object)
                && object.component.workload
                && is_daemon(&object.component.kind) != is_daemon(&row.object.kind)
        };
        let unsettled = |other: &PlacementRow| {
            let status = self.facts.status.get(&other.id);
            status.is_none_or(|status| settled_verdict(other, status) != Verdict::Pass)
        };
        let mut successors =
            self.facts.rows.iter().filter(|other| self.matching.object_of(other.id).is_some_and(succeeds));
        successors.any(unsettled) || self.matching.missing.iter().any(|object| succeeds(object))
    }

    /// Returns whether the row goes with a cluster that a person removes together with its workloads.
    ///
    /// The row goes because its replicas find no other place: the target of its own cell still covers them.
    fn goes_with_cluster(&self, row: &PlacementRow) -> bool {
        let waiting = self.cells.get(row.cell.as_str()).map_or(0, |cell| cell.target);
        self.snapshot.is_emptied(&row.cluster) && row.divided && row.rendered() <= waiting
    }

    /// Returns whether the object never moves, because it has an identity of its own or runs once.
    ///
    /// Such an object stays until a person removes it. An unreadable wanted revision counts as declaring such an
    /// object.
    fn stays_put(&self, row: &PlacementRow) -> bool {
        let stays = |revision: &StoredRevision| {
            revision.blueprint.components.iter().any(|component| {
                is_of_component(&self.snapshot.topology, row, component)
                    && (component.scope == Scope::Once || has_identity(&component.kind))
            })
        };
        keeps_identities(self.snapshot, row) && self.wanted().is_none_or(stays)
    }

    /// Returns whether a workload that was declared together with the object still runs beside it.
    fn is_needed(&self, row: &PlacementRow) -> bool {
        // An object that exists once per cell is used only in that cell.
        let of_cell = self.scope(row) == Some(Scope::PerCell);
        self.facts.rows.iter().any(|other| {
            let beside = other.cluster == row.cluster && (other.cell == row.cell || !of_cell);
            let stays =
                other.divided || self.matching.object_of(other.id).is_some_and(|object| object.component.workload);
            let runs = other.rank >= row.rank && stays && other.rendered() > 0;
            beside && runs && other.id != row.id && self.relies_on(other, row)
        })
    }

    /// Returns whether the revision that `row` runs, or is to run, declares the object of `needed`.
    fn relies_on(&self, row: &PlacementRow, needed: &PlacementRow) -> bool {
        let declares = |revision: ContentHash| declares(&self.snapshot.topology, self.revision(revision), needed);
        let status = self.facts.status.get(&row.id);
        let applied = status.and_then(|status| status.applied_revision);
        // Until the row is settled, the member may still run the previous revision.
        let settled = status.is_some_and(|status| settled_verdict(row, status) == Verdict::Pass);
        declares(row.revision) || !settled && applied.is_none_or(declares)
    }

    /// Returns the row's component in the row's revision.
    fn component(&self, row: &PlacementRow) -> Option<&ComponentPlan> {
        let components = &self.revision(row.revision)?.blueprint.components;
        components.iter().find(|component| is_of_component(&self.snapshot.topology, row, component))
    }

    /// Returns the scope of the row's component in the row's revision.
    fn scope(&self, row: &PlacementRow) -> Option<Scope> {
        self.component(row).map(|component| component.scope)
    }

    fn wanted(&self) -> Option<&StoredRevision> {
        self.facts.revisions.get(&self.facts.wanted).map(AsRef::as_ref)
    }

    fn revision(&self, hash: ContentHash) -> Option<&Arc<StoredRevision>> {
        self.facts.revisions.get(&hash)
    }
}

fn insert_of(facts: &AppSnapshot, object: &Desired<'_>) -> Insert {
    let name = object.names.first().cloned().unwrap_or_else(|| object.component.object_name.clone());
    Insert {
        row: store::PlacementInsert {
            component: object.component.name.clone(),
            cell: object.cell.to_string(),
            slot: object.slot,
            cluster: object.cluster.to_string(),
            object: object.key(&facts.row.key.namespace, &name),
            rank: object.component.rank,
            divided: object.divided,
            target: object.target,
            revision: object.revision,
            inputs: Some(object.inputs.clone()),
        },
        names: object.names.clone(),
    }
}
