//! Placement directives: the only way anything but the spec changes placement.

use jiff::Timestamp;
use jiff_sqlx::Timestamp as Ts;
use serde_json::Value;

use crate::{AppId, Store, StoreError};

/// One directive in force.
#[derive(Debug, Clone)]
pub struct DirectiveRow {
    /// Row id.
    pub id: i64,
    /// What it speaks of.
    pub scope: Value,
    /// What it does.
    pub effect: Value,
    /// The application it is meant for; all when left out.
    pub app: Option<AppId>,
    /// Operation or person.
    pub owner: String,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
}

impl Store {
    /// Directives in force, by id.
    pub async fn directive_list(&self) -> Result<Vec<DirectiveRow>, StoreError> {
        let rows = sqlx::query!(
            r#"
            SELECT id, scope, effect, app, owner, reason, since AS "since: Ts" FROM placement_directive
            WHERE until IS NULL OR until > now() ORDER BY id"#
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| DirectiveRow {
                id: row.id,
                scope: row.scope,
                effect: row.effect,
                app: row.app,
                owner: row.owner,
                reason: row.reason,
                since: row.since.to_jiff(),
            })
            .collect())
    }
}
