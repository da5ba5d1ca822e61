//! Compares the rows of the model with those of the database.

use std::collections::BTreeMap;
use std::fmt::Debug;

use serde_json::Value;
use store::{
    AppId, ApplicationRow, CellRow, DecisionRow, DirectiveRow, PlacementId, PlacementRow, StatusRow, Store, StoreError,
};

use super::tables::Tables;

/// Maps ids of the model to ids of the database.
#[derive(Debug, Default)]
pub(super) struct Names {
    apps: BTreeMap<AppId, AppId>,
    placements: BTreeMap<PlacementId, PlacementId>,
}

impl Names {
    /// Id in the database, or a negative id that matches no row.
    pub(super) fn app(&self, id: AppId) -> AppId {
        self.apps.get(&id).copied().unwrap_or_else(|| (-i64::from(id)).into())
    }

    fn placement(&self, id: PlacementId) -> PlacementId {
        self.placements.get(&id).copied().unwrap_or_else(|| (-i64::from(id)).into())
    }

    /// Copies a decision with the ids of the database.
    pub(super) fn decision(&self, row: &DecisionRow) -> DecisionRow {
        let mut row = row.clone();
        row.app = self.app(row.app);
        for change in &mut row.changes {
            change.id = self.placement(change.id);
        }
        for id in &mut row.forget {
            *id = self.placement(*id);
        }
        row
    }

    /// Copies a status with the ids of the database; `None` if the database lacks the placement.
    pub(super) fn status(&self, row: &StatusRow) -> Option<StatusRow> {
        Some(StatusRow { placement: *self.placements.get(&row.placement)?, ..row.clone() })
    }
}

fn object(row: &PlacementRow) -> (String, String, String, String) {
    (row.cluster.clone(), row.object.group().to_owned(), row.object.kind.clone(), row.object.name.clone())
}

fn unread(error: StoreError) -> String {
    format!("the database cannot be read: {error}")
}

/// Matches applications by name and placements by cluster and object.
pub(super) async fn names(store: &Store, tables: &Tables) -> Result<Names, String> {
    let keys: BTreeMap<_, _> =
        store.application_keys().await.map_err(unread)?.into_iter().map(|(id, key)| (key, id)).collect();
    let ids: Vec<AppId> = keys.values().copied().collect();
    let there = store.placement_list(&ids).await.map_err(unread)?;
    let objects: BTreeMap<_, _> = there.iter().map(|row| (object(row), row.id)).collect();
    Ok(Names {
        apps: tables.apps.values().filter_map(|row| Some((row.id, *keys.get(&row.key)?))).collect(),
        placements: tables.placements.values().filter_map(|row| Some((row.id, *objects.get(&object(row))?))).collect(),
    })
}

/// Compares every table that decisions and delivery use, as read by `store`.
///
/// # Errors
/// Names the first table that differs, with the differing rows of both sides.
pub(super) async fn compare(store: &Store, tables: &Tables, names: &Names) -> Result<(), String> {
    let ids: Vec<AppId> = store.application_keys().await.map_err(unread)?.into_iter().map(|(id, _)| id).collect();
    let apps = store.application_list(&ids).await.map_err(unread)?;
    same("application", tables.apps.values().map(|row| application(row, names.app(row.id))), {
        apps.iter().map(|row| application(row, row.id))
    })?;
    let placements = store.placement_list(&ids).await.map_err(unread)?;
    let model = tables.placements.values().map(|row| PlacementRow {
        id: names.placement(row.id),
        app: names.app(row.app),
        ..row.clone()
    });
    same("placement", model, placements)?;
    let model = tables.status.values().map(|row| names.status(row));
    same("placement_status", model, store.status_list(&ids).await.map_err(unread)?.into_iter().map(Some))?;
    let model =
        tables.cell_decisions.iter().flat_map(|(app, rows)| rows.iter().map(|row| (names.app(*app), row.clone())));
    same("cell_decision", model, store.cell_decision_list(&ids).await.map_err(unread)?)?;
    let model =
        tables.reservations.iter().flat_map(|(app, rows)| rows.iter().map(|row| (names.app(*app), row.clone())));
    same("reservation", model, store.reservation_list(&ids).await.map_err(unread)?)?;
    let (model, bookings) = (tables.fleet_rows().bookings, store.reservation_sums().await.map_err(unread)?);
    same("sums of reservations", model.sums, bookings.sums)?;
    same("versions of reservations", model.versions, bookings.versions)?;
    let directive = |row: &DirectiveRow, app| {
        let mut row = DirectiveRow { id: 0, app, since: jiff::Timestamp::UNIX_EPOCH, ..row.clone() };
        row.effect.sort_all_objects();
        row
    };
    let model = tables.directives.values().map(|row| directive(row, row.app.map(|app| names.app(app))));
    let stored = store.directive_list().await.map_err(unread)?;
    same("placement_directive", model, stored.iter().map(|row| directive(row, row.app)))?;
    let cells = store.cell_list().await.map_err(unread)?;
    // A row without a declaration and without a cluster only stores an authority.
    let declared = cells.iter().filter(|row| row.spec.is_some() || tables.clusters.contains_key(&row.name)).map(cell);
    same("cell", tables.cells.values().map(cell), declared)?;
    same("failover_breaker", tables.breaker, store.failover_breaker().await.map_err(unread)?)
}

/// Copies an application with its timestamps made equal.
fn application(row: &ApplicationRow, id: AppId) -> ApplicationRow {
    let mut row = ApplicationRow { id, ..row.clone() };
    row.removal_since = row.removal_since.map(|_| jiff::Timestamp::UNIX_EPOCH);
    row.decided_at = row.decided_at.map(|_| jiff::Timestamp::UNIX_EPOCH);
    row.intent.sort_all_objects();
    row.decision.iter_mut().for_each(Value::sort_all_objects);
    row
}

fn cell(row: &CellRow) -> CellRow {
    let mut row = row.clone();
    row.spec.iter_mut().for_each(Value::sort_all_objects);
    row
}

fn same<T: Debug>(
    table: &str,
    model: impl IntoIterator<Item = T>,
    database: impl IntoIterator<Item = T>,
) -> Result<(), String> {
    let sorted = |rows: Vec<T>| {
        let mut rows: Vec<String> = rows.iter().map(|row| format!("{row:?}")).collect();
        rows.sort_unstable();
        rows
    };
    let (model, database) = (sorted(model.into_iter().collect()), sorted(database.into_iter().collect()));
    let only = |one: &[String], other: &[String]| -> Vec<String> {
        one.iter().filter(|row| !other.contains(row)).cloned().collect()
    };
    if model == database {
        return Ok(());
    }
    let (left, right) = (only(&model, &database), only(&database, &model));
    Err(format!(
        "{table}: only in the model {:#?}\nonly in the database {:#?}",
        differing(&left, &right),
        differing(&right, &left)
    ))
}

/// Shortens each row to the part that differs from the row beside it.
fn differing(rows: &[String], beside: &[String]) -> Vec<String> {
    let cut = |(place, row): (usize, &String)| {
        let other = beside.get(place).map_or("", String::as_str);
        let common = row.chars().zip(other.chars()).take_while(|(one, other)| one == other).count();
        let shown: String = row.chars().skip(common.saturating_sub(60)).take(300).collect();
        format!("…{shown}")
    };
    rows.iter().enumerate().map(cut).collect()
}
