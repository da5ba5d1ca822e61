//! Writes of placement rows, as parts of the transaction of a decision.

use serde_json::Value;
use vocabulary::{CellInputs, ContentHash, ObjectKey};

use crate::decision_row::{DecisionRow, Txn};
use crate::placement::stored_inputs;
use crate::{AppId, DesiredState, PlacementId, PlacementRow, Slot, StoreError};

/// A placement row to add: an object that is to exist from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacementInsert {
    /// Component that the object is rendered from.
    pub component: String,
    /// Name of the cell.
    pub cell: String,
    /// Slot of the component in its cell.
    pub slot: Slot,
    /// Name of the cluster.
    pub cluster: String,
    /// Identity of the object in the member.
    pub object: ObjectKey,
    /// Order of delivery: lower ranks first.
    pub rank: i16,
    /// Whether the object takes a share of the application's replicas.
    pub divided: bool,
    /// Decided number of replicas.
    pub target: i32,
    /// Revision that the object is to run.
    pub revision: ContentHash,
    /// Inputs that the object takes from its cell.
    pub inputs: Option<CellInputs>,
}

/// New values of a placement row. Writing them raises its plan epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacementChange {
    /// Row id of the placement.
    pub id: PlacementId,
    /// Plan epoch of the row when it was read.
    pub read_epoch: u32,
    /// Component that the object is rendered from.
    pub component: String,
    /// API version that the object is written in.
    pub api_version: String,
    /// Order of delivery: lower ranks first.
    pub rank: i16,
    /// Whether the object takes a share of the application's replicas.
    pub divided: bool,
    /// Decided number of replicas.
    pub target: i32,
    /// Number of replicas that the object may not fall below yet.
    pub floor: i32,
    /// Additional replicas.
    pub surge: i32,
    /// Revision that the object is to run.
    pub revision: ContentHash,
    /// Inputs that the object takes from its cell.
    pub inputs: Option<CellInputs>,
    /// Desired state of the object.
    pub desired_state: DesiredState,
}

impl PlacementChange {
    /// Returns a change that leaves every value as it is.
    pub fn of(row: &PlacementRow) -> Self {
        Self {
            id: row.id,
            read_epoch: row.plan_epoch,
            component: row.component.clone(),
            api_version: row.object.api_version.clone(),
            rank: row.rank,
            divided: row.divided,
            target: row.target,
            floor: row.floor,
            surge: row.surge,
            revision: row.revision,
            inputs: row.inputs.clone(),
            desired_state: row.desired_state,
        }
    }
}

/// Adds placement rows.
///
/// # Errors
/// [`StoreError::Refused`] when an object to add already has an owner.
pub(crate) async fn insert(
    transaction: &mut Txn,
    decisions: &[&DecisionRow],
) -> Result<Vec<(String, PlacementId)>, StoreError> {
    let rows: Vec<(AppId, &PlacementInsert)> =
        decisions.iter().flat_map(|decision| decision.inserts.iter().map(|insert| (decision.app, insert))).collect();
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let apps: Vec<AppId> = rows.iter().map(|(app, _)| *app).collect();
    let text = |field: fn(&PlacementInsert) -> &str| -> Vec<&str> { rows.iter().map(|(_, row)| field(row)).collect() };
    let ranks: Vec<i16> = rows.iter().map(|(_, row)| row.rank).collect();
    let divided: Vec<bool> = rows.iter().map(|(_, row)| row.divided).collect();
    let targets: Vec<i32> = rows.iter().map(|(_, row)| row.target).collect();
    let revisions: Vec<&[u8]> = rows.iter().map(|(_, row)| row.revision.as_bytes()).collect();
    let inputs: Vec<Option<Value>> = rows.iter().map(|(_, row)| row.inputs.as_ref().map(stored_inputs)).collect();
    let added = sqlx::query!(
        r#"
        INSERT INTO placement (app, component, cell, slot, cluster, api_version, kind, namespace, object_name, rank, divided,
          target, floor, plan_epoch, revision, inputs, wish)
        SELECT app, component, cell, slot, cluster, api_version, kind, namespace, object_name, rank, divided, target, 0, 1,
          revision, inputs, 'Present'
        FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
          $9::text[], $10::smallint[], $11::bool[], $12::int[], $13::bytea[], $14::jsonb[])
          AS n (app, component, cell, slot, cluster, api_version, kind, namespace, object_name, rank, divided, target, revision,
                inputs)
        RETURNING cluster, id"#,
        &apps as _,
        &text(|row| &row.component) as _,
        &text(|row| &row.cell) as _,
        &text(|row| row.slot.as_str()) as _,
        &text(|row| &row.cluster) as _,
        &text(|row| &row.object.api_version) as _,
        &text(|row| &row.object.kind) as _,
        &text(|row| &row.object.namespace) as _,
        &text(|row| &row.object.name) as _,
        &ranks,
        &divided,
        &targets,
        &revisions as _,
        &inputs as _,
    )
    .fetch_all(&mut **transaction)
    .await?;
    Ok(added.into_iter().map(|row| (row.cluster, PlacementId(row.id))).collect())
}

/// Changes placement rows.
///
/// # Errors
/// [`StoreError::Stale`] when a row was changed since it was read.
pub(crate) async fn change(
    transaction: &mut Txn,
    decisions: &[&DecisionRow],
) -> Result<Vec<(String, PlacementId)>, StoreError> {
    let rows: Vec<&PlacementChange> = decisions.iter().flat_map(|decision| &decision.changes).collect();
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<PlacementId> = rows.iter().map(|row| row.id).collect();
    let epochs: Vec<i64> = rows.iter().map(|row| i64::from(row.read_epoch)).collect();
    let components: Vec<&str> = rows.iter().map(|row| row.component.as_str()).collect();
    let versions: Vec<&str> = rows.iter().map(|row| row.api_version.as_str()).collect();
    let ranks: Vec<i16> = rows.iter().map(|row| row.rank).collect();
    let divided: Vec<bool> = rows.iter().map(|row| row.divided).collect();
    let targets: Vec<i32> = rows.iter().map(|row| row.target).collect();
    let floors: Vec<i32> = rows.iter().map(|row| row.floor).collect();
    let surges: Vec<i32> = rows.iter().map(|row| row.surge).collect();
    let revisions: Vec<&[u8]> = rows.iter().map(|row| row.revision.as_bytes()).collect();
    let inputs: Vec<Option<Value>> = rows.iter().map(|row| row.inputs.as_ref().map(stored_inputs)).collect();
    let wishes: Vec<&str> = rows.iter().map(|row| row.desired_state.as_str()).collect();
    let changed = sqlx::query!(
        r#"
        UPDATE placement p SET component = n.component, api_version = n.api_version, rank = n.rank, divided = n.divided,
          target = n.target, floor = n.floor, surge = n.surge, revision = n.revision, wish = n.wish,
          inputs = n.inputs,
          -- Above a fence that was found in the member, too: the member refuses everything below.
          plan_epoch = greatest(p.plan_epoch, (SELECT s.found_epoch FROM placement_status s WHERE s.placement = p.id)) + 1
        FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::smallint[], $6::bool[], $7::int[], $8::int[],
          $9::int[], $10::bytea[], $11::text[], $12::jsonb[])
          AS n (id, epoch, component, api_version, rank, divided, target, floor, surge, revision, wish, inputs)
        WHERE p.id = n.id AND p.plan_epoch = n.epoch
        RETURNING p.cluster, p.id"#,
        &ids as _,
        &epochs,
        &components as _,
        &versions as _,
        &ranks,
        &divided,
        &targets,
        &floors,
        &surges,
        &revisions as _,
        &wishes as _,
        &inputs as _,
    )
    .fetch_all(&mut **transaction)
    .await?;
    if changed.len() != rows.len() {
        return Err(StoreError::Stale { what: "placements" });
    }
    Ok(changed.into_iter().map(|row| (row.cluster, PlacementId(row.id))).collect())
}

/// Deletes placement rows, locked in the order in which status is written.
pub(crate) async fn forget(
    transaction: &mut Txn,
    decisions: &[&DecisionRow],
) -> Result<Vec<(String, PlacementId)>, StoreError> {
    let ids: Vec<PlacementId> = decisions.iter().flat_map(|decision| decision.forget.iter().copied()).collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let gone = sqlx::query!(
        r#"
        WITH gone AS MATERIALIZED (SELECT id FROM placement WHERE id = ANY($1) ORDER BY id FOR UPDATE)
        DELETE FROM placement p USING gone WHERE p.id = gone.id RETURNING p.cluster, p.id"#,
        &ids as _
    )
    .fetch_all(&mut **transaction)
    .await?;
    Ok(gone.into_iter().map(|row| (row.cluster, PlacementId(row.id))).collect())
}
