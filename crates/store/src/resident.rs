//! Applications that have replicas in clusters.

use vocabulary::AppKey;

use crate::{AppId, Store, StoreError};

/// Divided replicas of one application in one cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResidentRow {
    /// Row id of the application.
    pub app: AppId,
    /// Namespace and name of the application.
    pub key: AppKey,
    /// Name of the cell.
    pub cell: String,
    /// Name of the cluster.
    pub cluster: String,
    /// Replicas that are decided or were last observed there, whichever is more.
    pub replicas: i64,
}

impl Store {
    /// Returns the applications with divided replicas in these clusters, by cell; ordered by name and cell.
    pub async fn resident_list(&self, clusters: &[String]) -> Result<Vec<ResidentRow>, StoreError> {
        let rows = sqlx::query!(
            r#"
            WITH r AS (
              -- Decided replicas, or those last observed where they are more: objects that are being deleted still run.
              SELECT p.app, p.cell, p.cluster, greatest(
                CASE WHEN p.wish = 'Present' THEN greatest(p.target, p.floor) + p.surge ELSE 0 END,
                coalesce(s.replicas, 0)) AS replicas
              FROM placement p LEFT JOIN placement_status s ON s.placement = p.id
              WHERE p.cluster = ANY($1) AND p.divided AND p.wish <> 'Orphan'
            )
            SELECT r.app, a.namespace, a.name, r.cell, r.cluster, sum(r.replicas)::bigint AS "replicas!"
            FROM r JOIN application a ON a.id = r.app WHERE r.replicas > 0
            GROUP BY r.app, a.namespace, a.name, r.cell, r.cluster ORDER BY a.namespace, a.name, r.cell"#,
            clusters
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| ResidentRow {
                app: AppId(row.app),
                key: AppKey { namespace: row.namespace, name: row.name },
                cell: row.cell,
                cluster: row.cluster,
                replicas: row.replicas,
            })
            .collect())
    }

    /// Returns the divided replicas of one application, by cell.
    pub async fn resident_of(&self, key: &AppKey) -> Result<Vec<ResidentRow>, StoreError> {
        let rows = sqlx::query!(
            r#"
            WITH r AS (
              SELECT p.app, p.cell, p.cluster, greatest(
                CASE WHEN p.wish = 'Present' THEN greatest(p.target, p.floor) + p.surge ELSE 0 END,
                coalesce(s.replicas, 0)) AS replicas
              FROM application a JOIN placement p ON p.app = a.id LEFT JOIN placement_status s ON s.placement = p.id
              WHERE a.namespace = $1 AND a.name = $2 AND p.divided AND p.wish <> 'Orphan'
            )
            SELECT app, cell, cluster, sum(replicas)::bigint AS "replicas!" FROM r WHERE replicas > 0
            GROUP BY app, cell, cluster ORDER BY cell"#,
            key.namespace,
            key.name
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| ResidentRow {
                app: AppId(row.app),
                key: key.clone(),
                cell: row.cell,
                cluster: row.cluster,
                replicas: row.replicas,
            })
            .collect())
    }
}
