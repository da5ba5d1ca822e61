//! Roles of subjects.

use uuid::Uuid;

use crate::decision_row::Txn;
use crate::{Store, StoreError};

/// Name of the write, for errors.
const WRITE: &str = "role_binding_insert";

/// A role to be given to a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRoleBinding {
    /// Kind of the subject, as text.
    pub subject_kind: String,
    /// Name of the subject.
    pub subject: String,
    /// Name of the role.
    pub role: String,
    /// Namespace in which the role counts; `None` for all, and for what has none.
    pub namespace: Option<String>,
    /// Subject that gives the role.
    pub created_by: String,
}

/// A role of a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleBindingRow {
    /// Identity.
    pub id: Uuid,
    /// Kind of the subject, as text.
    pub subject_kind: String,
    /// Name of the subject.
    pub subject: String,
    /// Name of the role.
    pub role: String,
    /// Namespace in which the role counts; `None` for all, and for what has none.
    pub namespace: Option<String>,
    /// Subject that gave the role.
    pub created_by: String,
}

impl Store {
    /// Gives a role to a subject. A binding that exists stays as it is.
    pub async fn role_binding_insert(&self, new: &NewRoleBinding) -> Result<(), StoreError> {
        let mut txn = self.transaction().await?;
        insert(&mut txn, new).await?;
        txn.commit().await.map_err(StoreError::of_commit(WRITE))?;
        Ok(())
    }

    /// Takes a role away. Returns whether the binding existed.
    pub async fn role_binding_delete(&self, id: Uuid) -> Result<bool, StoreError> {
        let done = sqlx::query!("DELETE FROM role_binding WHERE id = $1", id).execute(&self.pool).await?;
        Ok(done.rows_affected() == 1)
    }

    /// Returns all bindings, ordered by subject.
    pub async fn role_binding_list(&self) -> Result<Vec<RoleBindingRow>, StoreError> {
        let rows = sqlx::query!(
            r#"
            SELECT id, subject_kind, subject, role, namespace, created_by FROM role_binding
            ORDER BY subject_kind, subject, role, namespace"#
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| RoleBindingRow {
                id: row.id,
                subject_kind: row.subject_kind,
                subject: row.subject,
                role: row.role,
                namespace: row.namespace,
                created_by: row.created_by,
            })
            .collect())
    }
}

/// Gives a role to a subject within a transaction.
pub(crate) async fn insert(txn: &mut Txn, new: &NewRoleBinding) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO role_binding (id, subject_kind, subject, role, namespace, created_by) VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT DO NOTHING"#,
        Uuid::now_v7(),
        new.subject_kind,
        new.subject,
        new.role,
        new.namespace,
        new.created_by
    )
    .execute(&mut **txn)
    .await?;
    Ok(())
}
