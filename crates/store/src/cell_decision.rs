//! Decisions for each cell of an application, stored apart from the objects that follow from them.

use serde_json::Value;
use vocabulary::{ContentHash, PlaceInputs};

use crate::decision_row::{DecisionRow, Txn};
use crate::placement::{inputs, stored_inputs};
use crate::stored_hash::parse_hash;
use crate::{AppId, Slot, Store, StoreError};

/// Decision about one cell and slot of an application.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CellDecisionRow {
    /// Name of the cell.
    pub cell: String,
    /// Slot of the components in the cell.
    pub slot: Slot,
    /// Replicas of the Divided component; 0 where the cell runs the application without replicas.
    pub target: i32,
    /// Revision that every component of the application runs in the cell.
    pub revision: ContentHash,
    /// Inputs from the cell that its objects use now; `None` where an older program decided.
    pub inputs: Option<PlaceInputs>,
    /// Inputs that the objects use once it is the cell's turn.
    pub inputs_wanted: Option<PlaceInputs>,
}

impl Store {
    /// Returns decisions for all cells of the given applications, ordered by application, cell and slot.
    pub async fn cell_decision_list(&self, apps: &[AppId]) -> Result<Vec<(AppId, CellDecisionRow)>, StoreError> {
        let rows = sqlx::query!(
            r#"
            SELECT app, cell, slot, target, revision, inputs, inputs_wanted
            FROM cell_decision WHERE app = ANY($1) ORDER BY app, cell, slot"#,
            apps as _
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                let decision = CellDecisionRow {
                    cell: row.cell,
                    slot: Slot::parse(&row.slot)?,
                    target: row.target,
                    revision: parse_hash(&row.revision, "cell_decision.revision")?,
                    inputs: inputs(row.inputs, "cell_decision.inputs")?,
                    inputs_wanted: inputs(row.inputs_wanted, "cell_decision.inputs_wanted")?,
                };
                Ok((AppId(row.app), decision))
            })
            .collect()
    }
}

/// Writes changed cell decisions, replacing those of each application as a whole.
pub(crate) async fn replace(transaction: &mut Txn, decisions: &[&DecisionRow]) -> Result<(), StoreError> {
    let apps: Vec<AppId> =
        decisions.iter().filter(|decision| decision.cells.is_some()).map(|decision| decision.app).collect();
    if apps.is_empty() {
        return Ok(());
    }
    let rows: Vec<(AppId, &CellDecisionRow)> =
        decisions.iter().flat_map(|decision| decision.cells.iter().flatten().map(|row| (decision.app, row))).collect();
    let owners: Vec<AppId> = rows.iter().map(|(app, _)| *app).collect();
    let cells: Vec<&str> = rows.iter().map(|(_, row)| row.cell.as_str()).collect();
    let slots: Vec<&str> = rows.iter().map(|(_, row)| row.slot.as_str()).collect();
    let targets: Vec<i32> = rows.iter().map(|(_, row)| row.target).collect();
    let revisions: Vec<&[u8]> = rows.iter().map(|(_, row)| row.revision.as_bytes()).collect();
    let inputs: Vec<Option<Value>> = rows.iter().map(|(_, row)| row.inputs.as_ref().map(stored_inputs)).collect();
    let wanted: Vec<Option<Value>> =
        rows.iter().map(|(_, row)| row.inputs_wanted.as_ref().map(stored_inputs)).collect();
    sqlx::query!(
        r#"
        WITH n AS (
          SELECT * FROM unnest($2::bigint[], $3::text[], $4::text[], $5::int[], $6::bytea[], $7::jsonb[], $8::jsonb[])
            AS n (app, cell, slot, target, revision, inputs, inputs_wanted)
        ), gone AS (
          -- Cells that the application left.
          DELETE FROM cell_decision d WHERE d.app = ANY($1)
            AND NOT EXISTS (SELECT 1 FROM n WHERE n.app = d.app AND n.cell = d.cell AND n.slot = d.slot)
        )
        INSERT INTO cell_decision AS d (app, cell, slot, target, revision, inputs, inputs_wanted) SELECT * FROM n
        ON CONFLICT (app, cell, slot) DO UPDATE SET target = excluded.target, revision = excluded.revision,
          inputs = excluded.inputs, inputs_wanted = excluded.inputs_wanted
        WHERE (d.target, d.revision, d.inputs, d.inputs_wanted)
          IS DISTINCT FROM (excluded.target, excluded.revision, excluded.inputs, excluded.inputs_wanted)"#,
        &apps as _,
        &owners as _,
        &cells as _,
        &slots as _,
        &targets,
        &revisions as _,
        &inputs as _,
        &wanted as _,
    )
    .execute(&mut **transaction)
    .await?;
    Ok(())
}
