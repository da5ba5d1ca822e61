//! Reads everything a batch of decisions is made from.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use domain::intent::Intent;
use domain::stored_revision::StoredRevision;
use store::{AppId, ApplicationRow, PlacementId, PlacementRow, ReservationRow, StatusRow, StoreError};
use vocabulary::ContentHash;

use crate::Schedule;
use crate::world::World;

/// One application with everything decided and known of it.
#[derive(Debug)]
pub(crate) struct AppFacts {
    pub(crate) row: ApplicationRow,
    pub(crate) intent: Intent,
    pub(crate) wanted: ContentHash,
    pub(crate) rows: Vec<PlacementRow>,
    pub(crate) status: HashMap<PlacementId, StatusRow>,
    pub(crate) held: Vec<ReservationRow>,
    /// Every revision that is wanted or placed.
    pub(crate) revisions: BTreeMap<ContentHash, Arc<StoredRevision>>,
}

/// A batch.
#[derive(Debug)]
pub(crate) struct Gathered {
    pub(crate) world: World,
    pub(crate) apps: Vec<AppFacts>,
}

pub(crate) async fn gather(schedule: &Schedule, batch: &[AppId]) -> Result<Gathered, StoreError> {
    let store = &schedule.store;
    let world = World::read(store, schedule.times.stale_after).await?;
    let rows = store.application_list(batch).await?;
    let mut placements: HashMap<AppId, Vec<PlacementRow>> = HashMap::new();
    for placement in store.placement_list(batch).await? {
        placements.entry(placement.app).or_default().push(placement);
    }
    let mut status: HashMap<PlacementId, StatusRow> =
        store.status_list(batch).await?.into_iter().map(|status| (status.placement, status)).collect();
    let mut held: HashMap<AppId, Vec<ReservationRow>> = HashMap::new();
    for (app, row) in store.reservation_list(batch).await? {
        held.entry(app).or_default().push(row);
    }
    let mut apps = Vec::with_capacity(rows.len());
    for row in rows {
        let placed = placements.remove(&row.id).unwrap_or_default();
        let own_status = placed.iter().filter_map(|placement| status.remove_entry(&placement.id)).collect();
        let wanted = hash(&row.revision)?;
        let mut revisions = BTreeMap::new();
        for revision in placed.iter().map(|placement| &placement.revision).chain([&row.revision]) {
            let hash = hash(revision)?;
            if revisions.contains_key(&hash) {
                continue;
            }
            let parsed =
                schedule.revisions.get(row.id, revision, |bytes| StoredRevision::parse(&row.key, bytes)).await?;
            // One that is gone is not placed any more; its rows were changed meanwhile and bring us back here.
            revisions.extend(parsed.map(|parsed| (hash, parsed)));
        }
        let intent = serde_json::from_value(row.intent.clone())
            .map_err(|error| StoreError::Corrupt { what: "application.intent", reason: error.to_string() })?;
        let held = held.remove(&row.id).unwrap_or_default();
        apps.push(AppFacts { row, intent, wanted, rows: placed, status: own_status, held, revisions });
    }
    Ok(Gathered { world, apps })
}

fn hash(bytes: &[u8]) -> Result<ContentHash, StoreError> {
    ContentHash::from_bytes(bytes)
        .ok_or_else(|| StoreError::Corrupt { what: "revision", reason: format!("{} bytes", bytes.len()) })
}
