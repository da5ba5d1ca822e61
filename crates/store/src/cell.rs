//! Declared cells, and the authority epoch of every cell.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{Claim, Store, StoreError};

/// A declared cell as intake writes it.
#[derive(Debug, Clone)]
pub struct CellTaken {
    /// Name of the cell.
    pub name: String,
    /// UID of the Cell object.
    pub object_uid: String,
    /// Generation of the Cell object.
    pub generation: i64,
    /// `resourceVersion` of the Cell object, where it is a number.
    pub resource_version: Option<i64>,
    /// Labels of the Cell object.
    pub labels: Value,
    /// Spec of the Cell object.
    pub spec: Value,
}

/// A cell as stored: a declared cell, or the implicit cell of a cluster.
#[derive(Debug, Clone)]
pub struct CellRow {
    /// Name of the cell.
    pub name: String,
    /// Labels set by a user.
    pub labels: Value,
    /// Spec of a declared cell; `None` for the implicit cell of a cluster.
    pub spec: Option<Value>,
    /// UID of the Cell object that declares the cell.
    pub object_uid: Option<String>,
    /// Generation of the Cell object when intake stored it.
    pub generation: Option<i64>,
    /// `resourceVersion` of the Cell object when intake stored it.
    pub resource_version: Option<i64>,
    /// Whether the Cell object is being deleted.
    pub leaving: bool,
    /// Authority epoch of the cell.
    pub authority: u32,
}

impl Store {
    /// Stores a declared cell. Writes nothing where a cluster has the same name.
    pub async fn cell_take(&self, claim: &Claim, taken: &CellTaken) -> Result<(), StoreError> {
        let mut write = self.write(claim, "cell_take").await?;
        sqlx::query!(
            r#"
            INSERT INTO cell (name, object_uid, generation, labels, spec, resource_version) VALUES ($1, $2, $3, $4, $5, $6)
            ON CONFLICT (name) DO UPDATE SET object_uid = excluded.object_uid, generation = excluded.generation,
              labels = excluded.labels, spec = excluded.spec, leaving = false, resource_version = excluded.resource_version
            WHERE NOT EXISTS (SELECT 1 FROM cluster WHERE cluster.name = excluded.name)"#,
            taken.name,
            taken.object_uid,
            taken.generation,
            taken.labels,
            taken.spec,
            taken.resource_version,
        )
        .execute(&mut **write)
        .await?;
        write.commit().await
    }

    /// Returns the specs of those of the given cells that a Cell declares, by name.
    pub async fn cell_specs(&self, names: &[String]) -> Result<BTreeMap<String, Value>, StoreError> {
        let rows =
            sqlx::query!(r#"SELECT name, spec AS "spec!" FROM cell WHERE name = ANY($1) AND spec IS NOT NULL"#, names)
                .fetch_all(&self.pool)
                .await?;
        Ok(rows.into_iter().map(|row| (row.name, row.spec)).collect())
    }

    /// Marks a declared cell as being deleted: the scheduler then moves its placements away.
    pub async fn cell_leave(&self, claim: &Claim, name: &str) -> Result<(), StoreError> {
        let mut write = self.write(claim, "cell_leave").await?;
        sqlx::query!("UPDATE cell SET leaving = true WHERE name = $1 AND spec IS NOT NULL", name)
            .execute(&mut **write)
            .await?;
        write.commit().await
    }

    /// Removes the declaration of a cell that is being deleted and has no placement left.
    ///
    /// Returns whether the declaration was removed.
    pub async fn cell_forget(&self, claim: &Claim, name: &str) -> Result<bool, StoreError> {
        let mut write = self.write(claim, "cell_forget").await?;
        // The row stays, and with it the authority epoch.
        let gone = sqlx::query!(
            r#"
            UPDATE cell c SET spec = NULL, labels = '{}', object_uid = NULL, generation = NULL, resource_version = NULL,
              leaving = false
            WHERE c.name = $1 AND c.leaving
              AND NOT EXISTS (SELECT 1 FROM placement p WHERE p.cluster = c.spec ->> 'cluster' AND p.cell = c.name)"#,
            name
        )
        .execute(&mut **write)
        .await?
        .rows_affected()
            == 1;
        if gone {
            // Another cell may be declared under the name, and is not what they were about.
            sqlx::query!("DELETE FROM placement_directive WHERE scope -> 'Cell' ->> 'cell' = $1", name)
                .execute(&mut **write)
                .await?;
        }
        write.commit().await?;
        Ok(gone)
    }

    /// Returns all cells, ordered by name.
    pub async fn cell_list(&self) -> Result<Vec<CellRow>, StoreError> {
        let rows = sqlx::query!(
            "SELECT name, labels, spec, object_uid, generation, resource_version, leaving, authority FROM cell ORDER BY name"
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(CellRow {
                    authority: u32::try_from(row.authority)
                        .map_err(|error| StoreError::corrupt("cell.authority", error))?,
                    name: row.name,
                    labels: row.labels,
                    spec: row.spec,
                    object_uid: row.object_uid,
                    generation: row.generation,
                    resource_version: row.resource_version,
                    leaving: row.leaving,
                })
            })
            .collect()
    }
}
