//! Intake of declared Cells.

use crds::Cell;
use kube::{Api, ResourceExt};
use store::{CellRow, CellTaken, Hint};
use vocabulary::AppKey;

use super::declaration::{Age, Declaration, age_of, refuse_older, resource_version};
use super::{Intake, IntakeError};
use crate::hub::{drop_finalizer, ensure_finalizer, is_swept};

/// Kind under which refusals are stored.
pub(crate) const KIND: &str = "Cell";

/// Brings the database up to date with one Cell on the hub.
pub(super) async fn take_in(intake: &Intake, key: AppKey) -> Result<(), IntakeError> {
    // An absent object is not treated as deleted: with our finalizer, intake sees every deletion.
    let Some(object) = intake.readable(KIND, &key, &intake.view.cells) else { return Ok(()) };
    let api = Api::<Cell>::all(intake.hub.clone());
    let row = intake.store.cell_list().await?.into_iter().find(|row| row.name == key.name && row.spec.is_some());
    if object.metadata.deletion_timestamp.is_some() {
        // Deleting the kind does not delete the cell: what is placed there stays.
        if is_swept(&intake.hub, "cells", "").await? {
            tracing::warn!(cell = key.name, "the Cell goes because its kind does; the cell stays as it was taken in");
            return Ok(drop_finalizer(&api, &object).await?);
        }
        let row = row.filter(|row| row.object_uid == object.uid());
        let Some(row) = row else { return Ok(drop_finalizer(&api, &object).await?) };
        if !row.leaving {
            intake.store.cell_leave(&intake.claim, &key.name).await?;
            tracing::info!(cell = key.name, "cell is being deleted; what runs there moves away");
            intake.hints.send(Hint::Topology);
        }
        // The Cell is queued again whenever objects left a cell.
        if intake.store.cell_forget(&intake.claim, &key.name).await? {
            intake.hints.send(Hint::Topology);
            drop_finalizer(&api, &object).await?;
        }
        return Ok(());
    }
    ensure_finalizer(&api, &object).await?;
    let taken = CellTaken {
        name: key.name.clone(),
        object_uid: object.uid().unwrap_or_default(),
        generation: object.metadata.generation.unwrap_or_default(),
        resource_version: resource_version(object.as_ref()),
        labels: serde_json::to_value(object.labels())?,
        spec: serde_json::to_value(&object.spec)?,
    };
    let shown = declaration(&taken);
    let before = row.as_ref().and_then(declaration_of_row);
    if let Some(refusal) = before.and_then(|before| refuse_older(object.as_ref(), "mcell", &shown, &before)) {
        intake.refuse(KIND, &key, Some(refusal));
        return Ok(());
    }
    let is_same = |row: &CellRow| {
        row.object_uid.as_ref() == Some(&taken.object_uid)
            && row.spec.as_ref() == Some(&taken.spec)
            && row.labels == taken.labels
    };
    if row.as_ref().is_some_and(is_same) {
        // After a refusal, a person wrote the content again. An earlier state is to be told from that version.
        let was_refused = intake.refusals.get(KIND, &key).is_some();
        if was_refused || before.is_some_and(|before| age_of(&shown, &before) == Age::SameAtOtherVersion) {
            intake.store.cell_take(&intake.claim, &taken).await?;
        }
        intake.refuse(KIND, &key, None);
        return Ok(());
    }
    intake.store.cell_take(&intake.claim, &taken).await?;
    intake.refusals.set(KIND, &key, None);
    tracing::info!(cell = key.name, "cell taken in");
    intake.hints.send(Hint::Topology);
    Ok(())
}

fn declaration(taken: &CellTaken) -> Declaration<'_> {
    Declaration {
        object_uid: &taken.object_uid,
        generation: taken.generation,
        resource_version: taken.resource_version,
        labels: &taken.labels,
        spec: &taken.spec,
        gone: false,
    }
}

/// Returns the declaration that was taken in; `None` for the implicit cell of a cluster.
fn declaration_of_row(row: &CellRow) -> Option<Declaration<'_>> {
    Some(Declaration {
        object_uid: row.object_uid.as_deref()?,
        generation: row.generation?,
        resource_version: row.resource_version,
        labels: &row.labels,
        spec: row.spec.as_ref()?,
        gone: false,
    })
}
