//! Declared cells.

use crds::Cell;
use kube::{Api, ResourceExt};
use store::{CellRow, CellTaken, Hint};
use vocabulary::AppKey;

use super::provenance::older;
use super::{Intake, IntakeError};
use crate::hub::{drop_finalizer, ensure_finalizer, is_swept};

/// Kind under which refusals are kept.
pub(crate) const KIND: &str = "Cell";

/// Brings the database up to what the hub shows of one cell.
pub(super) async fn take_in(intake: &Intake, key: AppKey) -> Result<(), IntakeError> {
    // Absent is not deleted: our finalizer makes every deletion seen.
    let Some(object) = intake.readable(KIND, &key, &intake.view.cells) else { return Ok(()) };
    let api = Api::<Cell>::all(intake.hub.clone());
    let row = intake.store.cell_list().await?.into_iter().find(|row| row.name == key.name && row.spec.is_some());
    if object.metadata.deletion_timestamp.is_some() {
        // A kind that goes says nothing about the cell: what is placed there stays.
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
        // Looked at again whenever something left.
        if intake.store.cell_forget(&intake.claim, &key.name).await? {
            intake.hints.send(Hint::Topology);
            drop_finalizer(&api, &object).await?;
        }
        return Ok(());
    }
    ensure_finalizer(&api, &object).await?;
    let spec = serde_json::to_value(&object.spec)?;
    let labels = serde_json::to_value(object.labels())?;
    let object_uid = object.uid();
    let before = row.as_ref().and_then(|row| Some((row.object_uid.as_deref()?, row.generation?)));
    if let Some(refusal) = before.and_then(|before| older(object.as_ref(), "mcell", before, &spec)) {
        intake.refuse(KIND, &key, Some(refusal));
        return Ok(());
    }
    let same = |row: &CellRow| row.object_uid == object_uid && row.spec.as_ref() == Some(&spec) && row.labels == labels;
    if row.as_ref().is_some_and(same) {
        intake.refuse(KIND, &key, None);
        return Ok(());
    }
    let taken = CellTaken {
        name: key.name.clone(),
        object_uid: object_uid.unwrap_or_default(),
        generation: object.metadata.generation.unwrap_or_default(),
        labels,
        spec,
    };
    intake.store.cell_take(&intake.claim, &taken).await?;
    intake.refusals.set(KIND, &key, None);
    tracing::info!(cell = key.name, "cell taken in");
    intake.hints.send(Hint::Topology);
    Ok(())
}
