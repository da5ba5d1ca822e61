//! Tokens for the API: rows by id; secrets only as hashes.

use jiff::Timestamp;
use jiff_sqlx::{Timestamp as Ts, ToSqlx};
use uuid::Uuid;

use crate::{NewRoleBinding, Store, StoreError, role_binding};

/// Name of the write, for errors.
const WRITE: &str = "api_token_insert";

/// A token to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewApiToken {
    /// Identity; part of the token's text.
    pub id: Uuid,
    /// What the token is for.
    pub name: String,
    /// Kind of the subject, as text: `person` or `token`.
    pub subject_kind: String,
    /// Person or machine that the token belongs to.
    pub subject: String,
    /// SHA-256 of the secret.
    pub secret_hash: Vec<u8>,
    /// Roles that limit the token; empty for no limit.
    pub scopes: Vec<String>,
    /// When the token ends.
    pub expires_at: Timestamp,
    /// Subject that created the token.
    pub created_by: String,
}

/// A token as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiTokenRow {
    /// Identity; part of the token's text.
    pub id: Uuid,
    /// What the token is for.
    pub name: String,
    /// Kind of the subject, as text.
    pub subject_kind: String,
    /// Person or machine that the token belongs to.
    pub subject: String,
    /// SHA-256 of the secret.
    pub secret_hash: Vec<u8>,
    /// Roles that limit the token; empty for no limit.
    pub scopes: Vec<String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// Subject that created it.
    pub created_by: String,
    /// When it ends.
    pub expires_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

macro_rules! api_token_row {
    ($row:expr) => {{
        let row = $row;
        ApiTokenRow {
            id: row.id,
            name: row.name,
            subject_kind: row.subject_kind,
            subject: row.subject,
            secret_hash: row.secret_hash,
            scopes: row.scopes,
            created_at: row.created_at.to_jiff(),
            created_by: row.created_by,
            expires_at: row.expires_at.to_jiff(),
            revoked_at: row.revoked_at.map(Ts::to_jiff),
        }
    }};
}

impl Store {
    /// Stores a token, with a role for its subject.
    ///
    /// # Errors
    /// [`StoreError::Unknown`] when no answer arrived: create another token.
    pub async fn api_token_insert(
        &self,
        new: &NewApiToken,
        binding: Option<&NewRoleBinding>,
    ) -> Result<(), StoreError> {
        let mut txn = self.transaction().await?;
        sqlx::query!(
            r#"
            INSERT INTO api_token (id, name, subject_kind, subject, secret_hash, scopes, expires_at, created_by)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"#,
            new.id,
            new.name,
            new.subject_kind,
            new.subject,
            new.secret_hash,
            &new.scopes,
            new.expires_at.to_sqlx() as _,
            new.created_by
        )
        .execute(&mut *txn)
        .await?;
        if let Some(binding) = binding {
            role_binding::insert(&mut txn, binding).await?;
        }
        txn.commit().await.map_err(StoreError::of_commit(WRITE))?;
        Ok(())
    }

    /// Returns one token, also when it ended or was revoked.
    pub async fn api_token_get(&self, id: Uuid) -> Result<Option<ApiTokenRow>, StoreError> {
        let row = sqlx::query!(
            r#"
            SELECT id, name, subject_kind, subject, secret_hash, scopes, created_at AS "created_at: Ts", created_by,
              expires_at AS "expires_at: Ts", revoked_at AS "revoked_at: Ts"
            FROM api_token WHERE id = $1"#,
            id
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(|row| api_token_row!(row)))
    }

    /// Returns all tokens in the order of their creation.
    pub async fn api_token_list(&self) -> Result<Vec<ApiTokenRow>, StoreError> {
        let rows = sqlx::query!(
            r#"
            SELECT id, name, subject_kind, subject, secret_hash, scopes, created_at AS "created_at: Ts", created_by,
              expires_at AS "expires_at: Ts", revoked_at AS "revoked_at: Ts"
            FROM api_token ORDER BY created_at, id"#
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(|row| api_token_row!(row)).collect())
    }

    /// Revokes a token. Returns whether it was valid until now.
    pub async fn api_token_revoke(&self, id: Uuid, by: &str) -> Result<bool, StoreError> {
        let done = sqlx::query!(
            "UPDATE api_token SET revoked_at = now(), revoked_by = $2 WHERE id = $1 AND revoked_at IS NULL",
            id,
            by
        )
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }
}
