//! The sliding window of deletes that the mass-delete guard counts.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use crate::decision_row::Txn;
use crate::{AppId, DecisionRow, Store, StoreError};

/// Retention time of rows of the window, in seconds, whatever window a caller asks for.
const KEPT_SECONDS: f64 = 86_400.0;

/// Number of deletes within a window, and number of present objects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeleteWindow {
    /// Objects deleted within the window, per cluster.
    pub of_cluster: BTreeMap<String, i64>,
    /// Objects deleted within the window, per application.
    pub of_app: BTreeMap<AppId, i64>,
    /// Objects with desired state `Present`, per cluster.
    pub present: BTreeMap<String, i64>,
}

impl Store {
    /// Returns the deletes within the window before now, and the number of present objects.
    pub async fn delete_window(&self, window: SignedDuration) -> Result<DeleteWindow, StoreError> {
        let deleted = sqlx::query!(
            r#"
            SELECT app, cluster, sum(objects)::bigint AS "objects!" FROM delete_window
            WHERE at > now() - make_interval(secs => $1) GROUP BY app, cluster"#,
            window.as_secs_f64()
        )
        .fetch_all(&self.pool)
        .await?;
        let present = sqlx::query!(
            r#"SELECT cluster, count(*) AS "objects!" FROM placement WHERE wish = 'Present' GROUP BY cluster"#
        )
        .fetch_all(&self.pool)
        .await?;
        let mut all = DeleteWindow {
            present: present.into_iter().map(|row| (row.cluster, row.objects)).collect(),
            ..DeleteWindow::default()
        };
        for row in deleted {
            *all.of_cluster.entry(row.cluster).or_default() += row.objects;
            *all.of_app.entry(AppId(row.app)).or_default() += row.objects;
        }
        Ok(all)
    }
}

/// Adds the deletes of decisions to the window, in the transaction of the decisions.
pub(crate) async fn count(transaction: &mut Txn, decisions: &[&DecisionRow]) -> Result<(), StoreError> {
    let rows: Vec<(AppId, &str, i32)> = decisions
        .iter()
        .flat_map(|decision| decision.deletes.iter().map(|(cluster, count)| (decision.app, cluster.as_str(), *count)))
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    let apps: Vec<AppId> = rows.iter().map(|row| row.0).collect();
    let clusters: Vec<&str> = rows.iter().map(|row| row.1).collect();
    let objects: Vec<i32> = rows.iter().map(|row| row.2).collect();
    sqlx::query!(
        r#"
        INSERT INTO delete_window (app, cluster, objects)
        SELECT * FROM unnest($1::bigint[], $2::text[], $3::int[])"#,
        &apps as _,
        &clusters as _,
        &objects
    )
    .execute(&mut **transaction)
    .await?;
    sqlx::query!("DELETE FROM delete_window WHERE at < now() - make_interval(secs => $1)", KEPT_SECONDS)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}
