//! Directives that operations put and end, and what must hold under them.

use domain::decision_record::DecisionRecord;
use domain::placement::{DirectiveTarget, Effect};
use domain::topology::Topology;
use jiff::Timestamp;
use proptest::prelude::*;
use store::{AppId, DirectiveRow, NewDirective, PlacementRow};
use vocabulary::ContentHash;

use super::fleet;
use super::hub::Written;
use super::tables::{Tables, Wrote};

/// Owner of all directives of the model.
pub(super) const OWNER: &str = "operation";

/// Edit of the directives.
#[derive(Debug, Clone, Copy)]
pub(super) enum DirectiveEdit {
    /// Puts the directive with a key. It covers a cluster, or one of its declared cells.
    Put { key: usize, effect: Effect, app: Option<usize>, cell: Option<usize> },
    /// Ends the directive with a key.
    End(usize),
    /// Gives replicas of a cell, or its main slot, one of the application's revisions, counted from the latest.
    Release { app: usize, cell: Option<usize>, revision: usize, gray: i32, main: bool },
    /// Ends what all cells were given.
    EndReleases(usize),
}

pub(super) fn directive_edit() -> impl Strategy<Value = DirectiveEdit> {
    let effect = prop_oneof![3 => Just(Effect::Drain), 1 => Just(Effect::Cordon), 1 => Just(Effect::Hold)];
    let place = (proptest::option::of(0usize..2), proptest::option::of(0usize..2));
    prop_oneof![
        3 => (0usize..3, effect, place).prop_map(|(key, effect, (app, cell))| DirectiveEdit::Put { key, effect, app, cell }),
        2 => (0usize..3).prop_map(DirectiveEdit::End),
        5 => (0usize..2, proptest::option::of(0usize..2), 0usize..3, 0i32..5, any::<bool>()).prop_map(
            |(app, cell, revision, gray, main)| DirectiveEdit::Release { app, cell, revision, gray, main }
        ),
        1 => (0usize..2).prop_map(DirectiveEdit::EndReleases),
    ]
}

/// Name of a directive within its owner.
fn key_of(number: usize) -> String {
    format!("directive-{number}")
}

/// Name of the directive that gives a cell a revision.
fn release_key(app: AppId, cell: &str) -> String {
    format!("release/{}/{cell}", i64::from(app))
}

impl Tables {
    /// Applies an edit. A directive of an application that is not stored is not put.
    pub(super) fn edit_directive(
        &mut self,
        cluster: usize,
        edit: DirectiveEdit,
        apps: impl Fn(usize) -> Option<AppId>,
    ) {
        match edit {
            DirectiveEdit::End(key) => self.end_directive(key_of(key)),
            DirectiveEdit::Release { app, cell, revision, gray, main } => {
                let Some(app) = apps(app) else { return };
                let Some(revision) = self.revision_of(app, revision) else { return };
                let cell = cell.map_or_else(|| fleet::name(cluster), |cell| fleet::cell_name(cluster, cell));
                self.put_directive(NewDirective {
                    owner: OWNER.to_owned(),
                    key: release_key(app, &cell),
                    scope: serde_json::to_value(DirectiveTarget::Cell { cell }).unwrap(),
                    effect: serde_json::to_value(Effect::Release { revision, gray, main }).unwrap(),
                    app: Some(app),
                    reason: "release".to_owned(),
                    until: None,
                });
            }
            DirectiveEdit::EndReleases(app) => {
                let Some(app) = apps(app) else { return };
                let keys: Vec<String> =
                    self.directives.keys().filter(|key| key.starts_with(&release_key(app, ""))).cloned().collect();
                for key in keys {
                    self.end_directive(key);
                }
            }
            DirectiveEdit::Put { key, effect, app, cell } => {
                let target = match cell {
                    Some(cell) => DirectiveTarget::Cell { cell: fleet::cell_name(cluster, cell) },
                    None => DirectiveTarget::Cluster { cluster: fleet::name(cluster) },
                };
                let app = match app {
                    None => None,
                    Some(app) => match apps(app) {
                        None => return,
                        known => known,
                    },
                };
                self.put_directive(NewDirective {
                    owner: OWNER.to_owned(),
                    key: key_of(key),
                    scope: serde_json::to_value(target).unwrap(),
                    effect: serde_json::to_value(effect).unwrap(),
                    app,
                    reason: "maintenance".to_owned(),
                    until: None,
                });
            }
        }
    }

    /// Returns a revision of an application, counted from the wanted one.
    fn revision_of(&self, app: AppId, nth: usize) -> Option<ContentHash> {
        let wanted = self.apps.get(&app)?.revision;
        let others = self.revisions.keys().filter(|(of, revision)| *of == app && *revision != wanted);
        let all: Vec<ContentHash> = std::iter::once(wanted).chain(others.map(|(_, revision)| *revision)).collect();
        all.get(nth % all.len()).copied()
    }

    /// Returns the revisions that directives give to cells of an application.
    pub(super) fn released(&self, app: AppId) -> impl Iterator<Item = ContentHash> {
        self.directives.values().filter(move |row| row.app == Some(app)).filter_map(|row| match serde_json::from_value(
            row.effect.clone(),
        )
        .unwrap()
        {
            Effect::Release { revision, .. } => Some(revision),
            _ => None,
        })
    }

    /// `directive_put`.
    fn put_directive(&mut self, new: NewDirective) {
        self.note(|| Wrote::DirectivePut(new.clone()));
        let known = self.directives.get(&new.key).map(|row| row.id);
        let id = known.unwrap_or_else(|| {
            self.next_directive += 1;
            self.next_directive
        });
        let NewDirective { owner, key, scope, effect, app, reason, until } = new;
        let row = DirectiveRow {
            id,
            scope,
            effect,
            app,
            owner,
            key: Some(key.clone()),
            reason,
            since: Timestamp::UNIX_EPOCH,
            until,
        };
        self.directives.insert(key, row);
    }

    /// `directive_end`.
    fn end_directive(&mut self, key: String) {
        let count = u64::from(self.directives.remove(&key).is_some());
        self.note(|| Wrote::DirectiveEnded(key, count));
    }

    /// Returns whether a directive with the effect covers a cell for an application.
    fn has_directive(&self, effect: Effect, app: AppId, topology: &Topology, cell: &str) -> bool {
        let Some(cell) = topology.cells.get(cell) else { return false };
        let value = serde_json::to_value(effect).unwrap();
        self.directives.values().any(|row| {
            let target: DirectiveTarget = serde_json::from_value(row.scope.clone()).unwrap();
            row.effect == value && row.app.is_none_or(|only| only == app) && target.covers(cell)
        })
    }

    /// Returns whether a directive keeps the row's replicas although they are to leave.
    pub(super) fn is_held(&self, topology: &Topology, row: &PlacementRow) -> bool {
        row.floor > row.target && self.has_directive(Effect::Hold, row.app, topology, &row.cell)
    }
}

/// Checks that drained cells hold no replicas where other cells have room.
///
/// # Errors
/// Names the drained cell and the cell with room.
pub(super) fn drained_cells_are_empty(
    tables: &Tables,
    topology: &Topology,
    written: &Written,
    app: AppId,
    record: &DecisionRecord,
) -> Result<(), String> {
    if !written.is_divided() || record.hold.is_some() {
        return Ok(());
    }
    let has_room = |cell: &&crds::application::v1alpha1::CellDecision| {
        let is_bound = cell.note.as_deref().is_some_and(|note| note.contains("bound by"));
        cell.verdict == "Eligible" && !is_bound
    };
    let room = record.decision.cells.iter().find(has_room);
    let decided = tables.cell_decisions.get(&app).into_iter().flatten();
    let mut drained =
        decided.filter(|cell| tables.has_directive(Effect::Drain, app, topology, &cell.cell) && cell.target > 0);
    match (drained.next(), room) {
        (Some(cell), Some(room)) => {
            Err(format!("cell {} is drained and keeps {}, although {} has room", cell.cell, cell.target, room.cell))
        }
        _ => Ok(()),
    }
}
