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
    /// Replicas that its objects contain there.
    pub replicas: i64,
}

impl Store {
    /// Returns the applications with divided replicas in these clusters, by cell; ordered by name and cell.
    pub async fn resident_list(&self, clusters: &[String]) -> Result<Vec<ResidentRow>, StoreError> {
        let rows = sqlx::query!(
            r#"
            SELECT p.app, a.namespace, a.name, p.cell, p.cluster, sum(greatest(p.target, p.floor) + p.surge) AS "replicas!"
            FROM placement p JOIN application a ON a.id = p.app
            WHERE p.cluster = ANY($1) AND p.divided AND p.wish = 'Present' AND greatest(p.target, p.floor) + p.surge > 0
            GROUP BY p.app, a.namespace, a.name, p.cell, p.cluster ORDER BY a.namespace, a.name, p.cell"#,
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
            SELECT p.app, p.cell, p.cluster, sum(greatest(p.target, p.floor) + p.surge) AS "replicas!"
            FROM application a JOIN placement p ON p.app = a.id
            WHERE a.namespace = $1 AND a.name = $2 AND p.divided AND p.wish = 'Present'
              AND greatest(p.target, p.floor) + p.surge > 0
            GROUP BY p.app, p.cell, p.cluster ORDER BY p.cell"#,
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
