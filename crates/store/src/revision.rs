//! Revisions of applications: components and overrides, and whether they were ever fully ready.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff_sqlx::Timestamp as Ts;
use vocabulary::ContentHash;

use crate::stored_hash::parse_hash;
use crate::write::OpenTransaction;
use crate::{AppId, Claim, Store, StoreError, payload};

/// Maximum number of the newest revisions kept for each application, besides those in use.
pub(crate) const KEPT: i64 = 20;

/// A revision of an application.
#[derive(Debug, Clone)]
pub struct RevisionRow {
    /// Hash of components and overrides.
    pub revision: ContentHash,
    /// When intake stored the revision first.
    pub taken_at: Timestamp,
    /// Whether the revision was ever fully ready.
    pub was_ready: bool,
}

impl Store {
    /// Returns the newest revisions of each given application, the newest first.
    pub async fn revision_list(&self, apps: &[AppId]) -> Result<Vec<(AppId, RevisionRow)>, StoreError> {
        let rows = sqlx::query!(
            r#"
            SELECT r.app, r.revision, r.taken_at AS "taken_at: Ts", r.was_ready
            FROM unnest($1::bigint[]) AS w (app)
            CROSS JOIN LATERAL (SELECT * FROM app_revision k WHERE k.app = w.app ORDER BY k.taken_at DESC LIMIT $2) AS r
            ORDER BY r.app, r.taken_at DESC"#,
            apps as _,
            KEPT
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                let revision = parse_hash(&row.revision, "app_revision.revision")?;
                let taken_at = row.taken_at.to_jiff();
                Ok((AppId(row.app), RevisionRow { revision, taken_at, was_ready: row.was_ready }))
            })
            .collect()
    }

    /// Returns those of the given revisions of an application that are stored, with the kind of their Divided component.
    ///
    /// The kind is also `None` where an older program stored the revision.
    pub async fn revision_divided_kinds(
        &self,
        app: AppId,
        revisions: &[ContentHash],
    ) -> Result<BTreeMap<ContentHash, Option<String>>, StoreError> {
        let revisions: Vec<&[u8]> = revisions.iter().map(ContentHash::as_bytes).collect();
        let rows = sqlx::query!(
            "SELECT revision, divided_kind FROM app_revision WHERE app = $1 AND revision = ANY($2)",
            app.0,
            &revisions as _
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| Ok((parse_hash(&row.revision, "app_revision.revision")?, row.divided_kind)))
            .collect()
    }

    /// Returns all stored revisions of one application, the newest first.
    ///
    /// These are the newest ones and older ones that are still in use.
    pub async fn revision_all(&self, app: AppId) -> Result<Vec<RevisionRow>, StoreError> {
        let rows = sqlx::query!(
            r#"
            SELECT revision, taken_at AS "taken_at: Ts", was_ready FROM app_revision
            WHERE app = $1 ORDER BY taken_at DESC, revision"#,
            app.0
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                let revision = parse_hash(&row.revision, "app_revision.revision")?;
                Ok(RevisionRow { revision, taken_at: row.taken_at.to_jiff(), was_ready: row.was_ready })
            })
            .collect()
    }

    /// Stores that revisions were fully ready once.
    pub async fn revisions_were_ready(&self, claim: &Claim, ready: &[(AppId, ContentHash)]) -> Result<(), StoreError> {
        let (apps, revisions): (Vec<AppId>, Vec<&[u8]>) =
            ready.iter().map(|(app, revision)| (*app, revision.as_bytes())).unzip();
        let mut write = self.write(claim, "revisions_were_ready").await?;
        sqlx::query!(
            r#"
            UPDATE app_revision r SET was_ready = true FROM unnest($1::bigint[], $2::bytea[]) AS n (app, revision)
            WHERE r.app = n.app AND r.revision = n.revision AND NOT r.was_ready"#,
            &apps as _,
            &revisions as _,
        )
        .execute(&mut **write)
        .await?;
        write.commit().await
    }
}

/// Deletes the oldest revisions beyond those kept.
///
/// A revision that is desired, decided or placed anywhere is never deleted, and neither are those of the newest release.
pub(crate) async fn collect(transaction: &mut OpenTransaction, app: AppId) -> Result<(), StoreError> {
    let dropped = sqlx::query_scalar!(
        r#"
        DELETE FROM app_revision r WHERE r.app = $1
          AND r.revision NOT IN (SELECT n.revision FROM app_revision n WHERE n.app = $1 ORDER BY n.taken_at DESC LIMIT $2)
          AND NOT EXISTS (SELECT 1 FROM application a WHERE a.id = $1 AND a.revision = r.revision)
          AND NOT EXISTS (SELECT 1 FROM placement p WHERE p.app = $1 AND p.revision = r.revision)
          AND NOT EXISTS (SELECT 1 FROM cell_decision d WHERE d.app = $1 AND d.revision = r.revision)
          AND NOT EXISTS (SELECT 1 FROM placement_directive e
            WHERE e.app = $1 AND e.effect -> 'Release' ->> 'revision' = encode(r.revision, 'hex'))
          AND NOT EXISTS (
            SELECT 1 FROM application_release l WHERE l.app = $1 AND r.revision IN (l.revision, l.previous))
        RETURNING r.payload"#,
        app.0,
        KEPT
    )
    .fetch_all(&mut **transaction)
    .await?;
    payload::collect(transaction, &dropped).await
}
