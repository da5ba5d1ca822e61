//! Reads the rows from which a batch of decisions is made.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use domain::decision_record::DecisionRecord;
use domain::intent::Intent;
use domain::stored_revision::StoredRevision;
use store::{AppId, ApplicationRow, CellDecisionRow, PlacementId, PlacementRow, ReservationRow, StatusRow, StoreError};
use vocabulary::{AppKey, ContentHash};

use crate::Schedule;
use crate::fleet_snapshot::FleetSnapshot;
use crate::held_cells::{HeldCells, held_cells};
use crate::snapshot_cache::CachedSnapshot;

/// One application with its decisions, rows and observed status.
#[derive(Debug)]
pub(crate) struct AppSnapshot {
    pub(crate) row: ApplicationRow,
    pub(crate) intent: Intent,
    /// Input hash and record of the last decision.
    pub(crate) last_decision: (ContentHash, DecisionRecord),
    pub(crate) wanted: ContentHash,
    /// Decisions about cells, as stored.
    pub(crate) cell_rows: Vec<CellDecisionRow>,
    /// The parsed `cell_rows`, by cell.
    pub(crate) cells: HeldCells,
    pub(crate) rows: Vec<PlacementRow>,
    /// Indexes of each cell's rows in `rows`.
    by_cell: HashMap<String, Vec<usize>>,
    pub(crate) status: HashMap<PlacementId, StatusRow>,
    pub(crate) held: Vec<ReservationRow>,
    /// Every revision that is wanted, released, decided for a cell or placed.
    pub(crate) revisions: BTreeMap<ContentHash, Arc<StoredRevision>>,
}

/// All stored rows of one application.
#[derive(Debug, Clone)]
pub struct AppRows {
    /// Row of the application itself.
    pub application: ApplicationRow,
    /// Decisions about the application's cells.
    pub cells: Vec<CellDecisionRow>,
    /// Placement rows, one per object.
    pub placements: Vec<PlacementRow>,
    /// Observed status of the placement rows.
    pub status: Vec<StatusRow>,
    /// Capacity that the application holds.
    pub reservations: Vec<ReservationRow>,
    /// Every revision that is wanted, released, decided for a cell or placed.
    pub revisions: BTreeMap<ContentHash, Arc<StoredRevision>>,
}

impl AppSnapshot {
    /// Parses the rows.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when the intent cannot be read.
    pub(crate) fn of(rows: AppRows) -> Result<Self, StoreError> {
        let AppRows { application: row, cells: cell_rows, placements, status, reservations, revisions } = rows;
        let intent = serde_json::from_value(row.intent.clone())
            .map_err(|error| StoreError::Corrupt { what: "application.intent", reason: error.to_string() })?;
        let mut by_cell: HashMap<String, Vec<usize>> = HashMap::new();
        for (place, row) in placements.iter().enumerate() {
            by_cell.entry(row.cell.clone()).or_default().push(place);
        }
        Ok(Self {
            intent,
            last_decision: last_decision(&row),
            wanted: row.revision,
            cells: held_cells(&cell_rows),
            cell_rows: in_order(cell_rows),
            by_cell,
            rows: placements,
            status: status.into_iter().map(|status| (status.placement, status)).collect(),
            held: reservations,
            revisions,
            row,
        })
    }

    /// Returns the rows of a cell; a cluster's name gives the rows of its implicit cell.
    pub(crate) fn rows_in(&self, cell: &str) -> impl Iterator<Item = &PlacementRow> {
        self.by_cell.get(cell).into_iter().flatten().map(|place| &self.rows[*place])
    }
}

/// Sorts decisions by cell and slot, the order in which they are planned.
fn in_order(mut rows: Vec<CellDecisionRow>) -> Vec<CellDecisionRow> {
    rows.sort();
    rows
}

/// A batch of applications with the fleet snapshot that decides them.
#[derive(Debug)]
pub(crate) struct Gathered {
    pub(crate) snapshot: CachedSnapshot,
    pub(crate) apps: Vec<AppSnapshot>,
}

pub(crate) async fn gather(schedule: &Schedule, batch: &[AppId]) -> Result<Gathered, StoreError> {
    let store = &schedule.store;
    // These reads run concurrently. The write detects a decision that changed meanwhile, and each status carries the
    // epoch at which it was observed.
    let (snapshot, rows, decided, placed, observed, reserved) = tokio::try_join!(
        schedule.snapshot.take(async || FleetSnapshot::read(store, &schedule.claim, schedule.times.stale_after).await),
        store.application_list(batch),
        store.cell_decision_list(batch),
        store.placement_list(batch),
        store.status_list(batch),
        store.reservation_list(batch),
    )?;
    let mut placements: HashMap<AppId, Vec<PlacementRow>> = HashMap::new();
    for placement in placed {
        placements.entry(placement.app).or_default().push(placement);
    }
    let mut status: HashMap<PlacementId, StatusRow> =
        observed.into_iter().map(|status| (status.placement, status)).collect();
    let mut held: HashMap<AppId, Vec<ReservationRow>> = HashMap::new();
    for (app, row) in reserved {
        held.entry(app).or_default().push(row);
    }
    let mut cells: HashMap<AppId, Vec<CellDecisionRow>> = HashMap::new();
    for (app, row) in decided {
        cells.entry(app).or_default().push(row);
    }
    let parsed = revisions(schedule, &snapshot.fleet, &rows, &placements, &cells).await?;
    let mut apps = Vec::with_capacity(rows.len());
    for row in rows.into_iter().filter(|row| !snapshot.fleet.is_held(row.id)) {
        let placed = placements.remove(&row.id).unwrap_or_default();
        let observed = placed.iter().filter_map(|placement| status.remove(&placement.id)).collect();
        let decided = cells.remove(&row.id).unwrap_or_default();
        let released = snapshot.fleet.releases_of(row.id);
        let used = placed
            .iter()
            .map(|placement| placement.revision)
            .chain(decided.iter().map(|cell| cell.revision))
            .chain(released.values().map(|release| release.revision));
        let mut revisions = BTreeMap::new();
        for revision in used.chain([row.revision]) {
            // A missing revision is no longer placed. Its rows changed meanwhile, and that change queues the
            // application again.
            let found = parsed.get(&(row.id, revision));
            revisions.extend(found.map(|found| (revision, Arc::clone(found))));
        }
        let reservations = held.remove(&row.id).unwrap_or_default();
        apps.push(AppSnapshot::of(AppRows {
            application: row,
            cells: decided,
            placements: placed,
            status: observed,
            reservations,
            revisions,
        })?);
    }
    Ok(Gathered { snapshot, apps })
}

/// Parses the last decision. An unreadable decision is made again from the placed rows.
fn last_decision(row: &ApplicationRow) -> (ContentHash, DecisionRecord) {
    let undecided = || (ContentHash::of(b""), DecisionRecord::default());
    let (Some(stored), Some(hash)) = (&row.decision, row.input_hash) else { return undecided() };
    match serde_json::from_value(stored.clone()) {
        Ok(record) => (hash, record),
        Err(error) => {
            tracing::warn!(key = %row.key, %error, "the last decision cannot be read; it is made anew");
            undecided()
        }
    }
}

/// Reads every revision that is wanted, released, decided for a cell or placed.
async fn revisions(
    schedule: &Schedule,
    fleet: &FleetSnapshot,
    rows: &[ApplicationRow],
    placements: &HashMap<AppId, Vec<PlacementRow>>,
    cells: &HashMap<AppId, Vec<CellDecisionRow>>,
) -> Result<HashMap<(AppId, ContentHash), Arc<StoredRevision>>, StoreError> {
    let keys: HashMap<AppId, &AppKey> = rows.iter().map(|row| (row.id, &row.key)).collect();
    // A removal uses only the rows, so it also works when the application's revisions cannot be read.
    let kept: BTreeSet<AppId> = rows.iter().filter(|row| row.removal.is_none()).map(|row| row.id).collect();
    let placed = placements.values().flatten().map(|placement| (placement.app, placement.revision));
    let decided = cells.iter().flat_map(|(app, cells)| cells.iter().map(|cell| (*app, cell.revision)));
    let released =
        rows.iter().flat_map(|row| fleet.releases_of(row.id).into_values().map(|release| (row.id, release.revision)));
    let wanted: BTreeSet<(AppId, ContentHash)> =
        rows.iter().map(|row| (row.id, row.revision)).chain(placed).chain(decided).chain(released).collect();
    let wanted: Vec<(AppId, ContentHash)> = wanted.into_iter().filter(|(app, _)| kept.contains(app)).collect();
    let parse = |app: AppId, bytes: &[u8]| {
        let key = keys.get(&app).ok_or_else(|| "its application is not there".to_owned())?;
        StoredRevision::parse(key, bytes)
    };
    schedule.revisions.get_many(&wanted, parse).await
}
