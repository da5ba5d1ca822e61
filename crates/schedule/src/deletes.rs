//! Deletes among the planned changes of an application, and when they exceed a limit. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use crds::application::v1alpha1::PendingDeletes;
use domain::confirmation;
use domain::decision_record::Edit;
use domain::motion::{app_limit, cluster_limit};
use domain::render;
use domain::stored_revision::StoredRevision;
use domain::topology::CellFacts;
use store::{DeleteWindow, DesiredState, PlacementChange, PlacementId, PlacementRow, Removal};
use vocabulary::{ContentHash, hash_json};

use crate::fleet_snapshot::FleetSnapshot;
use crate::gather::AppSnapshot;
use crate::held_cells::HeldCells;
use crate::identity::declares;

/// Maximum number of objects that pending deletes list by name.
const NAMED_MAX: usize = 50;

/// The deletes among an application's planned changes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Deletes {
    /// Rows that are deleted and that the limits count.
    pub(crate) going: Vec<PlacementRow>,
    /// Number of rows with desired state `Present` before the decision.
    pub(crate) present: i64,
    /// The application itself is being removed.
    pub(crate) removing: bool,
    pub(crate) confirmed: Option<ContentHash>,
    /// Cells that a confirmed rebalance emptied.
    pub(crate) previewed: Vec<String>,
    pub(crate) beforehand: Beforehand,
}

/// Deletes that a person confirmed before the scheduler decided them.
#[derive(Debug, Clone, Default)]
pub(crate) enum Beforehand {
    #[default]
    Nothing,
    /// The deletion of the Application with every object it delivered.
    Whole,
    /// The removal of components that this revision lacks and the revision before it had.
    Edit(Arc<StoredRevision>),
}

impl Beforehand {
    pub(crate) fn of(facts: &AppSnapshot) -> Self {
        let Some(confirmed) = facts.row.delete_confirmed else { return Self::Nothing };
        let wanted = facts.revisions.get(&facts.wanted);
        let edit = facts.last_decision.1.edit.to(facts.wanted);
        Self::judge(&facts.row.object_uid, confirmed, facts.row.removal, edit, wanted)
    }

    pub(crate) fn judge(
        uid: &str,
        confirmed: ContentHash,
        removal: Option<Removal>,
        edit: Edit,
        wanted: Option<&Arc<StoredRevision>>,
    ) -> Self {
        if removal.is_some() {
            let is_whole = confirmed == confirmation::whole_application(uid);
            return if is_whole { Self::Whole } else { Self::Nothing };
        }
        match (edit.before, edit.after, wanted) {
            (Some(before), Some(after), Some(wanted)) if confirmed == confirmation::edit(uid, before, after) => {
                Self::Edit(Arc::clone(wanted))
            }
            _ => Self::Nothing,
        }
    }

    fn covers(&self, snapshot: &FleetSnapshot, row: &PlacementRow) -> bool {
        match self {
            Self::Nothing => false,
            Self::Whole => true,
            Self::Edit(wanted) => !declares(&snapshot.topology, Some(wanted), row),
        }
    }
}

impl Deletes {
    pub(crate) fn of(facts: &AppSnapshot) -> Self {
        Self {
            going: Vec::new(),
            present: facts.rows.iter().filter(|row| row.desired_state == DesiredState::Present).count() as i64,
            removing: facts.row.removal.is_some(),
            confirmed: facts.row.delete_confirmed,
            previewed: Vec::new(),
            beforehand: Beforehand::of(facts),
        }
    }

    /// Adds cells that a person agreed to empty after a preview.
    pub(crate) fn preview(&mut self, cells: impl IntoIterator<Item = String>) {
        self.previewed.extend(cells);
    }

    /// Counts a row that `desired_state` deletes.
    ///
    /// `cells` are those that held the application before the decision.
    ///
    /// Objects that are never deleted do not count. Nor do objects that leave because a person or an operation moved them,
    /// or whose delete a person confirmed beforehand.
    pub(crate) fn consider(
        &mut self,
        snapshot: &FleetSnapshot,
        cells: &HeldCells,
        row: &PlacementRow,
        desired_state: DesiredState,
    ) {
        let by_a_person = snapshot.is_drained(row)
            || leaves_with_drained_cells(snapshot, cells, row)
            || self.previewed.contains(&row.cell)
            || self.beforehand.covers(snapshot, row);
        if desired_state == DesiredState::Delete
            && row.desired_state == DesiredState::Present
            && !by_a_person
            && !render::is_never_deleted(&row.object)
        {
            self.going.push(row.clone());
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.going.is_empty()
    }

    pub(crate) fn per_cluster(&self) -> BTreeMap<String, i64> {
        let mut counts = BTreeMap::new();
        for row in &self.going {
            *counts.entry(row.cluster.clone()).or_default() += 1;
        }
        counts
    }

    /// Returns the limit that the deletes would exceed, if any.
    fn excess(&self, app: store::AppId, window: &DeleteWindow) -> Option<Excess> {
        let count = |map: &BTreeMap<String, i64>, cluster: &str| map.get(cluster).copied().unwrap_or(0);
        let lately = window.of_app.get(&app).copied().unwrap_or(0);
        let (all, going) = (self.present + lately, self.going.len() as i64 + lately);
        if let Some(limit) = app_limit(all).filter(|limit| !self.removing && going > *limit) {
            let reason = format!(
                "{going} of the application's {all} objects would go, more than the {limit} that go without a word"
            );
            return Some(Excess { reason, is_own: true });
        }
        for (cluster, going) in self.per_cluster() {
            let lately = count(&window.of_cluster, &cluster);
            let limit = cluster_limit(count(&window.present, &cluster) + lately);
            if lately + going > limit {
                let is_own = going > limit;
                let others = if is_own { "" } else { ", and they go when those of others lie further back" };
                let reason = format!(
                    "{} deletes in cluster {cluster} within a short time, more than the {limit} that go without a word{others}",
                    lately + going
                );
                return Some(Excess { reason, is_own });
            }
        }
        None
    }

    /// Returns the hash of exactly these rows as they are now, which a person confirms.
    ///
    /// A confirmation ends with the rows it names. The same objects, placed and pruned again, are other rows, or rows
    /// with a later plan epoch.
    pub(crate) fn plan(&self) -> ContentHash {
        let mut objects: Vec<(PlacementId, u32, &str, &str, &str, &str, &str)> = self
            .going
            .iter()
            .map(|row| {
                let object = &row.object;
                (
                    row.id,
                    row.plan_epoch,
                    row.cluster.as_str(),
                    object.api_version.as_str(),
                    object.kind.as_str(),
                    object.namespace.as_str(),
                    object.name.as_str(),
                )
            })
            .collect();
        objects.sort_unstable();
        hash_json(&objects).expect("numbers and texts are JSON")
    }

    /// Returns the deletes with the plan epochs that the rows have after this plan.
    ///
    /// The hash that a person sees and confirms is then the hash that the next decision computes.
    pub(crate) fn after(mut self, changes: &[PlacementChange]) -> Self {
        for row in &mut self.going {
            let is_changed = changes.iter().any(|change| change.id == row.id);
            row.plan_epoch = row.plan_epoch.saturating_add(u32::from(is_changed));
        }
        self
    }

    pub(crate) fn pending(&self, reason: String) -> PendingDeletes {
        let mut objects: Vec<String> = self.going.iter().map(shown).collect();
        objects.sort_unstable();
        objects.truncate(NAMED_MAX);
        PendingDeletes { plan: self.plan().to_string(), objects, count: self.going.len() as i32, reason }
    }

    /// Returns why the deletes wait, or `None` when they may proceed.
    ///
    /// Deletes that wait because of their own number keep waiting: passing time does not confirm them. Deletes that wait
    /// because of others proceed with time, so no application makes another one's deletes need a person.
    pub(crate) fn reason_to_wait(
        &self,
        app: store::AppId,
        waiting: Option<&PendingDeletes>,
        window: &DeleteWindow,
    ) -> Option<Excess> {
        let waits = waiting.filter(|pending| self.going.iter().any(|row| pending.objects.contains(&shown(row))));
        let waits = waits.map(|pending| Excess { reason: pending.reason.clone(), is_own: true });
        self.excess(app, window).or(waits)
    }

    pub(crate) fn is_confirmed(&self) -> bool {
        self.confirmed == Some(self.plan())
    }
}

/// Returns whether an object that exists once per cluster goes because directives drain the application's cells there.
///
/// `cells` are those that held the application before the decision.
fn leaves_with_drained_cells(snapshot: &FleetSnapshot, cells: &HeldCells, row: &PlacementRow) -> bool {
    if row.cell != row.cluster || !snapshot.has_drains_of(row.app) {
        return false;
    }
    let is_drained = |cell: &CellFacts| snapshot.is_drained_by_directive(row.app, cell.name.as_str());
    let is_beside = |cell: &&CellFacts| cell.cluster.as_str() == row.cluster;
    let known = &snapshot.topology.cells;
    known.values().filter(is_beside).any(is_drained)
        && cells.keys().filter_map(|cell| known.get(cell)).filter(is_beside).all(is_drained)
}

/// A limit that deletes exceed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Excess {
    /// The limit and the number, for people.
    pub(crate) reason: String,
    /// The application's own deletes exceed the limit, without those of others.
    pub(crate) is_own: bool,
}

/// Returns the text by which a person sees a waiting object.
fn shown(row: &PlacementRow) -> String {
    format!("{}: {} {}", row.cluster, row.object.kind, row.object.name)
}

#[cfg(test)]
mod tests;
