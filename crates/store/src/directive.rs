//! Placement directives: the only input besides the spec that changes placement.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use jiff_sqlx::{Timestamp as Ts, ToSqlx};
use serde_json::Value;

use crate::decision_row::Txn;
use crate::{AppId, Claim, Store, StoreError};

/// Maximum number of directives of one owner. Each decision reads all directives of the fleet.
const OWNER_DIRECTIVES_MAX: i64 = 10_000;

/// A stored directive.
#[derive(Debug, Clone, PartialEq)]
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
    /// Name of the directive within its owner; `None` where an older program wrote it.
    pub key: Option<String>,
    /// Reason for the directive.
    pub reason: String,
    /// When the directive came into force.
    pub since: Timestamp,
    /// When the directive ends by itself; `None` if only its owner ends it.
    pub until: Option<Timestamp>,
}

/// A directive to write.
#[derive(Debug, Clone, PartialEq)]
pub struct NewDirective {
    /// Operation or user that owns the directive.
    pub owner: String,
    /// Name of the directive within its owner.
    pub key: String,
    /// Scope that the directive covers, as JSON of `domain::placement::DirectiveTarget`.
    pub scope: Value,
    /// Effect of the directive, as JSON of `domain::placement::Effect`.
    pub effect: Value,
    /// Application that the directive applies to; `None` for all.
    pub app: Option<AppId>,
    /// Reason for the directive, for people.
    pub reason: String,
    /// When the directive ends by itself; `None` if only its owner ends it.
    pub until: Option<Timestamp>,
}

impl Store {
    /// Writes directives. A directive replaces the one with its owner and key.
    ///
    /// Afterwards the caller sends [`crate::Hint::Directives`].
    ///
    /// # Guarantees
    /// - All directives are written, or none.
    /// - Writing equal content again changes no row. `since` changes only with scope, effect or application, and when a
    ///   directive that had ended by itself is written again.
    /// - A directive of an application that no longer exists is left out, because it would be deleted with it.
    /// - Of several directives with one owner and key the last is written.
    ///
    /// Lock order: applications by id, directives by owner and key.
    ///
    /// # Errors
    /// [`StoreError::TooMany`] when an owner would have more than 10,000 directives.
    pub async fn directive_put(&self, claim: &Claim, directives: &[NewDirective]) -> Result<(), StoreError> {
        if directives.is_empty() {
            return Ok(());
        }
        let mut write = self.write(claim, "directive_put").await?;
        let existing = lock_applications(&mut write, directives).await?;
        let named: BTreeMap<(&str, &str), &NewDirective> = directives
            .iter()
            .filter(|directive| directive.app.is_none_or(|app| existing.contains(&app)))
            .map(|directive| ((directive.owner.as_str(), directive.key.as_str()), directive))
            .collect();
        insert_or_replace(&mut write, named.values().copied()).await?;
        let owners: BTreeSet<&str> = named.keys().map(|(owner, _)| *owner).collect();
        for owner in owners {
            check_number(&mut write, owner).await?;
        }
        write.commit().await
    }

    /// Deletes directives of an owner, all or those with the given keys. Returns the number of deleted directives.
    ///
    /// Afterwards the caller sends [`crate::Hint::Directives`].
    pub async fn directive_end(&self, claim: &Claim, owner: &str, keys: Option<&[String]>) -> Result<u64, StoreError> {
        let mut write = self.write(claim, "directive_end").await?;
        let deleted = match keys {
            Some(keys) => {
                sqlx::query!("DELETE FROM placement_directive WHERE owner = $1 AND key = ANY($2)", owner, keys)
                    .execute(&mut **write)
                    .await?
            }
            None => {
                sqlx::query!("DELETE FROM placement_directive WHERE owner = $1", owner).execute(&mut **write).await?
            }
        };
        write.commit().await?;
        Ok(deleted.rows_affected())
    }

    /// Returns directives in force, ordered by id.
    pub async fn directive_list(&self) -> Result<Vec<DirectiveRow>, StoreError> {
        let rows = sqlx::query_as!(
            StoredDirective,
            r#"
            SELECT id, scope, effect, app, owner, key, reason, since AS "since: Ts", until AS "until: Ts"
            FROM placement_directive WHERE until IS NULL OR until > now() ORDER BY id"#
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(DirectiveRow::from).collect())
    }

    /// Returns all directives of an owner, ordered by key. Directives that ended by themselves are among them.
    pub async fn directive_list_of(&self, owner: &str) -> Result<Vec<DirectiveRow>, StoreError> {
        let rows = sqlx::query_as!(
            StoredDirective,
            r#"
            SELECT id, scope, effect, app, owner, key, reason, since AS "since: Ts", until AS "until: Ts"
            FROM placement_directive WHERE owner = $1 ORDER BY key, id"#,
            owner
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(DirectiveRow::from).collect())
    }

    /// Returns whether a directive with this owner, key and application is stored.
    pub async fn directive_exists(&self, owner: &str, key: &str, app: Option<AppId>) -> Result<bool, StoreError> {
        let found = sqlx::query_scalar!(
            "SELECT 1 AS found FROM placement_directive WHERE owner = $1 AND key = $2 AND app IS NOT DISTINCT FROM $3",
            owner,
            key,
            app.map(|app| app.0)
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(found.is_some())
    }

    /// Returns the time until the next directive ends by itself, by the clock of the database.
    ///
    /// Returns `None` if no directive in force has an end.
    pub async fn directive_next_end(&self) -> Result<Option<Duration>, StoreError> {
        let seconds = sqlx::query_scalar!(
            r#"SELECT extract(epoch FROM min(until) - now())::double precision AS seconds
            FROM placement_directive WHERE until > now()"#
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(seconds.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)))
    }
}

/// Locks the applications of the directives against deletion, and returns those that exist.
async fn lock_applications(transaction: &mut Txn, directives: &[NewDirective]) -> Result<BTreeSet<AppId>, StoreError> {
    let apps: Vec<i64> = directives.iter().filter_map(|directive| Some(directive.app?.0)).collect();
    if apps.is_empty() {
        return Ok(BTreeSet::new());
    }
    let locked = sqlx::query_scalar!("SELECT id FROM application WHERE id = ANY($1) ORDER BY id FOR KEY SHARE", &apps)
        .fetch_all(&mut **transaction)
        .await?;
    Ok(locked.into_iter().map(AppId).collect())
}

async fn insert_or_replace(
    transaction: &mut Txn,
    directives: impl Iterator<Item = &NewDirective> + Clone,
) -> Result<(), StoreError> {
    let owners: Vec<&str> = directives.clone().map(|directive| directive.owner.as_str()).collect();
    let keys: Vec<&str> = directives.clone().map(|directive| directive.key.as_str()).collect();
    let scopes: Vec<Value> = directives.clone().map(|directive| directive.scope.clone()).collect();
    let effects: Vec<Value> = directives.clone().map(|directive| directive.effect.clone()).collect();
    let apps: Vec<Option<i64>> = directives.clone().map(|directive| Some(directive.app?.0)).collect();
    let reasons: Vec<&str> = directives.clone().map(|directive| directive.reason.as_str()).collect();
    let ends: Vec<Option<Ts>> = directives.map(|directive| directive.until.map(ToSqlx::to_sqlx)).collect();
    sqlx::query!(
        r#"
        INSERT INTO placement_directive AS d (owner, key, scope, effect, app, reason, until)
        SELECT owner, key, scope, effect, app, reason, until
        FROM unnest($1::text[], $2::text[], $3::jsonb[], $4::jsonb[], $5::bigint[], $6::text[], $7::timestamptz[])
          AS n (owner, key, scope, effect, app, reason, until)
        ON CONFLICT (owner, key) DO UPDATE SET scope = excluded.scope, effect = excluded.effect, app = excluded.app,
          reason = excluded.reason, until = excluded.until,
          since = CASE
            WHEN (d.scope, d.effect, d.app) IS DISTINCT FROM (excluded.scope, excluded.effect, excluded.app)
              OR d.until <= now() THEN now()
            ELSE d.since END
        WHERE (d.scope, d.effect, d.app, d.reason, d.until)
          IS DISTINCT FROM (excluded.scope, excluded.effect, excluded.app, excluded.reason, excluded.until)"#,
        &owners as _,
        &keys as _,
        &scopes,
        &effects,
        &apps as _,
        &reasons as _,
        &ends as _,
    )
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// Checks the number of directives of an owner, including those that this transaction wrote.
async fn check_number(transaction: &mut Txn, owner: &str) -> Result<(), StoreError> {
    let number = sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM placement_directive WHERE owner = $1"#, owner)
        .fetch_one(&mut **transaction)
        .await?;
    if number > OWNER_DIRECTIVES_MAX {
        return Err(StoreError::TooMany { what: "directives", owner: owner.to_owned(), max: OWNER_DIRECTIVES_MAX });
    }
    Ok(())
}

/// A row as the database returns it.
struct StoredDirective {
    id: i64,
    scope: Value,
    effect: Value,
    app: Option<i64>,
    owner: String,
    key: Option<String>,
    reason: String,
    since: Ts,
    until: Option<Ts>,
}

impl From<StoredDirective> for DirectiveRow {
    fn from(row: StoredDirective) -> Self {
        let StoredDirective { id, scope, effect, app, owner, key, reason, since, until } = row;
        let app = app.map(AppId);
        Self { id, scope, effect, app, owner, key, reason, since: since.to_jiff(), until: until.map(Ts::to_jiff) }
    }
}
