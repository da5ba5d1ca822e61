//! Declared cells.

use crds::Cell;
use kube::{Api, ResourceExt};
use store::{CellTaken, Hint};
use vocabulary::AppKey;

use super::{Intake, IntakeError};
use crate::hub::{drop_finalizer, ensure_finalizer, is_swept};

/// Kind under which refusals are kept.
pub(crate) const KIND: &str = "Cell";

/// Brings the database up to what the hub shows of one cell.
pub(super) async fn take_in(intake: &Intake, key: AppKey) -> Result<(), IntakeError> {
    // Absent is not deleted: our finalizer makes every deletion seen.
    let Some(object) = intake.readable(KIND, &key, &intake.view.cells) else { return Ok(()) };
    let api = Api::<Cell>::all(intake.hub.clone());
    if object.metadata.deletion_timestamp.is_some() {
        // A kind that goes says nothing about the cell: what is placed there stays.
        if is_swept(&intake.hub, "cells", "").await? {
            tracing::warn!(cell = key.name, "the Cell goes because its kind does; the cell stays as it was taken in");
            return Ok(drop_finalizer(&api, &object).await?);
        }
        intake.store.cell_forget(&intake.claim, &key.name).await?;
        intake.hints.send(Hint::Topology);
        return Ok(drop_finalizer(&api, &object).await?);
    }
    ensure_finalizer(&api, &object).await?;
    let spec = serde_json::to_value(&object.spec)?;
    let labels = serde_json::to_value(object.labels())?;
    let rows = intake.store.cell_list().await?;
    if rows.iter().any(|row| row.name == key.name && row.spec.as_ref() == Some(&spec) && row.labels == labels) {
        intake.refuse(KIND, &key, None);
        return Ok(());
    }
    let taken = CellTaken {
        name: key.name.clone(),
        object_uid: object.uid().unwrap_or_default(),
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
