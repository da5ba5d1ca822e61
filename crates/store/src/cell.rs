//! Declared cells, and the authority epoch of every cell.

use serde_json::Value;

use crate::{Claim, Store, StoreError};

/// What intake writes for a declared cell.
#[derive(Debug, Clone)]
pub struct CellTaken {
    /// Name.
    pub name: String,
    /// UID of the object.
    pub object_uid: String,
    /// Its generation.
    pub generation: i64,
    /// Its resourceVersion, where that is a number.
    pub resource_version: Option<i64>,
    /// Its labels.
    pub labels: Value,
    /// Its spec.
    pub spec: Value,
}

/// One cell.
#[derive(Debug, Clone)]
pub struct CellRow {
    /// Name.
    pub name: String,
    /// Labels set by a person.
    pub labels: Value,
    /// Spec of a declared cell; nothing for a cluster's implicit one.
    pub spec: Option<Value>,
    /// UID of the object that declares it.
    pub object_uid: Option<String>,
    /// Its generation when it was taken in.
    pub generation: Option<i64>,
    /// Its resourceVersion when it was taken in.
    pub resource_version: Option<i64>,
    /// It is being deleted.
    pub leaving: bool,
    /// Authority epoch.
    pub authority: u32,
}

impl Store {
    /// Takes a declared cell in.
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

    /// A declared cell is being deleted: what is placed there moves away.
    pub async fn cell_leave(&self, claim: &Claim, name: &str) -> Result<(), StoreError> {
        let mut write = self.write(claim, "cell_leave").await?;
        sqlx::query!("UPDATE cell SET leaving = true WHERE name = $1 AND spec IS NOT NULL", name)
            .execute(&mut **write)
            .await?;
        write.commit().await
    }

    /// Forgets a declared cell that is being deleted and holds nothing any more. Returns whether it is gone.
    pub async fn cell_forget(&self, claim: &Claim, name: &str) -> Result<bool, StoreError> {
        let mut write = self.write(claim, "cell_forget").await?;
        // Its authority stays.
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
        write.commit().await?;
        Ok(gone)
    }

    /// All cells, by name.
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
