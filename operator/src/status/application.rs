//! Writes the status of one Application.

use std::collections::HashMap;
use std::time::Duration;

use crds::condition::{self, Status, condition};
use crds::{Application, ApplicationStatus};
use domain::intent::Intent;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Api;
use store::{
    AppId, ApplicationRow, OperationStep, PlacementId, PlacementRow, ReleaseState, RevisionRow, Slot, StatusRow,
    StoreError,
};
use vocabulary::{AppKey, ContentHash, OperationId};

use super::application_status::{is_progress, says_the_same};
use super::facts::{Facts, Release};
use super::{StatusError, StatusStage, events, unreadable};
use crate::hub::write_status;
use crate::intake::APPLICATION;

/// Rows of one Application.
#[derive(Debug)]
pub(super) struct Stored {
    row: ApplicationRow,
    /// Revision decided for each cell, by cell.
    cell_revisions: HashMap<String, ContentHash>,
    rows: Vec<PlacementRow>,
    status: HashMap<PlacementId, StatusRow>,
    revisions: Vec<RevisionRow>,
    release: Option<Release>,
}

/// Reads the rows of many Applications with a few queries.
pub(super) async fn read(stage: &StatusStage, keys: &[AppKey]) -> Result<HashMap<AppKey, Stored>, StoreError> {
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let found = stage.store.application_get_many(keys).await?;
    let ids: Vec<AppId> = found.iter().map(|row| row.id).collect();
    let (cells, rows, status, revisions) = tokio::try_join!(
        stage.store.cell_decision_list(&ids),
        stage.store.placement_list(&ids),
        stage.store.status_list(&ids),
        stage.store.revision_list(&ids),
    )?;
    let mut stored: HashMap<AppId, Stored> = found
        .into_iter()
        .map(|row| {
            (
                row.id,
                Stored {
                    row,
                    cell_revisions: HashMap::new(),
                    rows: Vec::new(),
                    status: HashMap::new(),
                    revisions: Vec::new(),
                    release: None,
                },
            )
        })
        .collect();
    let mut status: HashMap<PlacementId, StatusRow> =
        status.into_iter().map(|status| (status.placement, status)).collect();
    for (app, cell) in cells {
        if let Some(app) = stored.get_mut(&app).filter(|_| cell.slot == Slot::Main) {
            app.cell_revisions.insert(cell.cell, cell.revision);
        }
    }
    for row in rows {
        if let Some(app) = stored.get_mut(&row.app) {
            app.status.extend(status.remove_entry(&row.id));
            app.rows.push(row);
        }
    }
    for (app, revision) in revisions {
        if let Some(app) = stored.get_mut(&app) {
            app.revisions.push(revision);
        }
    }
    add_releases(stage, &ids, &mut stored).await?;
    Ok(stored.into_values().map(|app| (app.row.key.clone(), app)).collect())
}

/// Adds the newest release of each Application, and what the operations of open ones do now.
async fn add_releases(
    stage: &StatusStage,
    ids: &[AppId],
    stored: &mut HashMap<AppId, Stored>,
) -> Result<(), StoreError> {
    let rows = stage.store.release_list(ids).await?;
    let open: Vec<OperationId> =
        rows.iter().filter(|row| row.state == ReleaseState::Open).map(|row| row.operation).collect();
    let mut steps: HashMap<OperationId, OperationStep> = match open.as_slice() {
        [] => HashMap::new(),
        open => stage.store.operation_steps(open).await?.into_iter().map(|step| (step.id, step)).collect(),
    };
    for row in rows {
        if let Some(app) = stored.get_mut(&row.app) {
            app.release = Some(Release { step: steps.remove(&row.operation), row });
        }
    }
    Ok(())
}

/// Outcome of writing the status of one Application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The status is already up to date.
    Already,
    /// The status was written.
    Written,
    /// The status changed only in progress, and waits this long for further changes.
    Later(Duration),
}

/// Writes the status of one Application when it changed.
///
/// `patience` returns how long mere progress still waits.
pub(super) async fn show(
    stage: &StatusStage,
    key: &AppKey,
    stored: Option<&Stored>,
    patience: impl FnOnce() -> Option<Duration>,
) -> Result<Outcome, StatusError> {
    let api = Api::<Application>::namespaced(stage.hub.clone(), &key.namespace);
    if let Some(why) = stage.view.applications.unreadable(key) {
        unreadable::show(stage, &api, &key.name, &why).await?;
        return Ok(Outcome::Already);
    }
    let Some(object) = stage.view.applications.get(key) else { return Ok(Outcome::Already) };
    let shown = object.status.clone().unwrap_or_default();
    let refusal = stage.refusals.get(APPLICATION, key);
    let generation = object.metadata.generation.unwrap_or_default();
    let now = Timestamp::now();
    let wanted = if let Some(Stored { row, cell_revisions, rows, status, revisions, release }) = stored {
        // Status names the generation that the placement follows. So an older state is not taken for that of the newer
        // spec.
        let generation = if refusal.is_some() { generation } else { row.decided_generation };
        let fleet = stage.fleet.view(&stage.store).await?;
        let intent: Intent = serde_json::from_value(row.intent.clone())
            .map_err(|error| StoreError::Corrupt { what: "application.intent", reason: error.to_string() })?;
        Facts {
            row,
            intent: &intent,
            cell_revisions,
            rows,
            status,
            revisions,
            release: release.as_ref(),
            topology: &fleet.topology,
            seen: &fleet.seen,
            refusal,
            before: &shown.conditions,
            generation,
            now,
            stale_after: stage.stale_after,
        }
        .status()
    } else {
        let Some(refusal) = refusal else { return Ok(Outcome::Already) };
        let make = |type_, status, reason: &str, message: &str| {
            condition(type_, status, reason, message, Some(generation), Time(now))
        };
        let conditions = vec![
            make(condition::READY, Status::False, refusal.reason, &refusal.message),
            make(condition::RECONCILING, Status::False, "Idle", ""),
            make(condition::STALLED, Status::True, "NeedsAPerson", &refusal.message),
        ];
        ApplicationStatus {
            observed_generation: Some(generation),
            intent_taken: refusal.taken,
            conditions: condition::merge(&shown.conditions, conditions),
            ..ApplicationStatus::default()
        }
    };
    if says_the_same(&shown, &wanted) {
        return Ok(Outcome::Already);
    }
    if is_progress(&shown, &wanted)
        && let Some(pause) = patience()
    {
        return Ok(Outcome::Later(pause));
    }
    write_status(&stage.hub, &api, &key.name, &wanted).await?;
    events::tell(&stage.recorder, &*object, &shown.conditions, &wanted.conditions).await;
    Ok(Outcome::Written)
}
