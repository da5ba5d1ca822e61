//! Placement directives: the only input besides the spec that changes placement.

use jiff::Timestamp;
use jiff_sqlx::Timestamp as Ts;
use serde_json::Value;

use crate::{AppId, Store, StoreError};

/// A directive in force.
#[derive(Debug, Clone)]
pub struct DirectiveRow {
    /// Row id.
    pub id: i64,
    /// Scope that the directive covers.
    pub scope: Value,
    /// Effect of the directive.
    pub effect: Value,
    /// Application that the directive applies to; `None` for all.
    pub app: Option<AppId>,
    /// Operation or user that owns the directive.
    pub owner: String,
    /// Reason for the directive.
    pub reason: String,
    /// When the directive came into force.
    pub since: Timestamp,
}

impl Store {
    /// Returns directives in force, ordered by id.
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
                app: row.app.map(AppId),
                owner: row.owner,
                reason: row.reason,
                since: row.since.to_jiff(),
            })
            .collect())
    }
}
