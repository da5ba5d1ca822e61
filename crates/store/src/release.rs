//! Releases of applications: the newest one of each, and which applications need one.

use jiff::Timestamp;
use jiff_sqlx::Timestamp as Ts;
use serde_json::Value;
use uuid::Uuid;
use vocabulary::{AppKey, ContentHash, OperationId};

use crate::decision_row::Txn;
use crate::stored_hash::{parse_hash, parse_optional_hash};
use crate::{AppId, Claim, Store, StoreError, clean};

/// State of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReleaseState {
    /// Its operation brings the revision to the cells.
    Open,
    /// All cells hold the revision.
    Released,
    /// The cells went back, or kept the revision that each of them held.
    RolledBack,
}

impl ReleaseState {
    /// Returns the text form, as stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "Open",
            Self::Released => "Released",
            Self::RolledBack => "RolledBack",
        }
    }

    fn parse(text: &str) -> Result<Self, StoreError> {
        match text {
            "Open" => Ok(Self::Open),
            "Released" => Ok(Self::Released),
            "RolledBack" => Ok(Self::RolledBack),
            other => Err(StoreError::corrupt("application_release.state", other)),
        }
    }
}

/// Newest release of an application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseRow {
    /// The application.
    pub app: AppId,
    /// Revision that the release brings.
    pub revision: ContentHash,
    /// Revision that most cells held before.
    pub previous: ContentHash,
    /// Operation that brings the revision.
    pub operation: OperationId,
    /// State of the release.
    pub state: ReleaseState,
    /// How it ended, for people. Empty while it is open.
    pub message: String,
    /// Revision that was wanted instead when the release was taken back.
    pub superseded_by: Option<ContentHash>,
    /// When the row changed last.
    pub changed_at: Timestamp,
}

/// Identity of a release: what it brings, in place of what, and by which operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReleaseKey {
    /// The application.
    pub app: AppId,
    /// Revision that the release brings.
    pub revision: ContentHash,
    /// Revision that most cells held before.
    pub previous: ContentHash,
    /// Operation that brings the revision.
    pub operation: OperationId,
}

/// What became of a request to open a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReleaseOpened {
    /// It is open.
    Opened,
    /// Another operation has an open release. Nothing was written.
    OpenBy(OperationId),
    /// The application does not exist.
    NoApplication,
}

/// An application that may need a release, or has an open one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseCandidate {
    /// The application.
    pub app: AppId,
    /// Namespace and name.
    pub key: AppKey,
    /// The wanted revision.
    pub wanted: ContentHash,
    /// Some cell holds another revision in its main slot, and the application asks for releases.
    pub is_due: bool,
    /// The scheduler has decided the present spec: cells that need no restart have the wanted revision.
    pub is_decided: bool,
}

/// A release operation that is not over.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenReleaseOperation {
    /// The operation.
    pub id: OperationId,
    /// Its request.
    pub spec: Value,
}

macro_rules! release_row {
    ($row:expr) => {{
        let row = $row;
        Ok::<_, StoreError>(ReleaseRow {
            app: AppId(row.app),
            revision: parse_hash(&row.revision, "application_release.revision")?,
            previous: parse_hash(&row.previous, "application_release.previous")?,
            operation: row.operation.into(),
            state: ReleaseState::parse(&row.state)?,
            message: row.message,
            superseded_by: parse_optional_hash(row.superseded_by, "application_release.superseded_by")?,
            changed_at: row.changed_at.to_jiff(),
        })
    }};
}

impl Store {
    /// Returns the newest releases of the given applications, ordered by application.
    pub async fn release_list(&self, apps: &[AppId]) -> Result<Vec<ReleaseRow>, StoreError> {
        let rows = sqlx::query!(
            r#"
            SELECT app, revision, previous, operation, state, message, superseded_by, changed_at AS "changed_at: Ts"
            FROM application_release WHERE app = ANY($1) ORDER BY app"#,
            apps as _
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(|row| release_row!(row)).collect()
    }

    /// Returns the newest release of an application.
    pub async fn release_get(&self, app: AppId) -> Result<Option<ReleaseRow>, StoreError> {
        Ok(self.release_list(&[app]).await?.pop())
    }

    /// Stores that an operation has an open release, in place of the release before.
    ///
    /// Afterwards the caller sends [`crate::Hint::Show`].
    ///
    /// Lock order: application, release.
    pub async fn release_open(&self, claim: &Claim, key: &ReleaseKey) -> Result<ReleaseOpened, StoreError> {
        let mut write = self.write(claim, "release_open").await?;
        let app = sqlx::query_scalar!("SELECT id FROM application WHERE id = $1 FOR KEY SHARE", key.app.0)
            .fetch_optional(&mut **write)
            .await?;
        if app.is_none() {
            return Ok(ReleaseOpened::NoApplication);
        }
        // An open release whose operation is over, or gone, was not concluded yet.
        let other = sqlx::query_scalar!(
            r#"
            SELECT r.operation FROM application_release r JOIN operation o ON o.id = r.operation
            WHERE r.app = $1 AND r.state = 'Open' AND r.operation <> $2 AND o.ended_at IS NULL"#,
            key.app.0,
            Uuid::from(key.operation)
        )
        .fetch_optional(&mut **write)
        .await?;
        if let Some(other) = other {
            return Ok(ReleaseOpened::OpenBy(other.into()));
        }
        sqlx::query!(
            r#"
            INSERT INTO application_release AS r (app, revision, previous, operation, state, message)
            VALUES ($1, $2, $3, $4, 'Open', '')
            ON CONFLICT (app) DO UPDATE SET revision = excluded.revision, previous = excluded.previous,
              operation = excluded.operation, state = excluded.state, message = excluded.message, superseded_by = NULL,
              changed_at = now()
            WHERE (r.revision, r.previous, r.operation, r.state)
              IS DISTINCT FROM (excluded.revision, excluded.previous, excluded.operation, excluded.state)"#,
            key.app.0,
            key.revision.as_bytes(),
            key.previous.as_bytes(),
            Uuid::from(key.operation)
        )
        .execute(&mut **write)
        .await?;
        write.commit().await?;
        Ok(ReleaseOpened::Opened)
    }

    /// Stores how the release of an operation ended, and ends the directives of its owner in the same transaction.
    ///
    /// A row of another operation whose release is open stays. Afterwards the caller sends [`crate::Hint::Show`] and
    /// [`crate::Hint::Directives`].
    pub async fn release_conclude(
        &self,
        claim: &Claim,
        key: &ReleaseKey,
        owner: &str,
        state: ReleaseState,
        message: &str,
    ) -> Result<(), StoreError> {
        let mut write = self.write(claim, "release_conclude").await?;
        conclude(&mut write, key, owner, state, message).await?;
        write.commit().await
    }

    /// Does what [`Self::release_conclude`] does, if the operation is over or gone. Returns whether it is.
    ///
    /// A verb of a person that makes the operation active again comes before or after this.
    pub async fn release_conclude_ended(
        &self,
        claim: &Claim,
        key: &ReleaseKey,
        owner: &str,
        state: ReleaseState,
        message: &str,
    ) -> Result<bool, StoreError> {
        let mut write = self.write(claim, "release_conclude").await?;
        let ended = sqlx::query_scalar!(
            r#"SELECT ended_at IS NOT NULL AS "ended!" FROM operation WHERE id = $1 FOR SHARE"#,
            Uuid::from(key.operation)
        )
        .fetch_optional(&mut **write)
        .await?;
        if ended == Some(false) {
            return Ok(false);
        }
        conclude(&mut write, key, owner, state, message).await?;
        write.commit().await?;
        Ok(true)
    }

    /// Returns those of the given applications that have an open release or may need one.
    ///
    /// An application whose wanted revision was taken back is left out, unless another revision was wanted then.
    pub async fn release_candidates(&self, apps: &[AppId]) -> Result<Vec<ReleaseCandidate>, StoreError> {
        let rows = sqlx::query!(
            r#"
            SELECT id, namespace, name, revision, due AS "due!", decided AS "decided!" FROM (
              SELECT a.id, a.namespace, a.name, a.revision, r.state, a.decided_generation >= a.generation AS decided,
                a.removal IS NULL AND a.intent -> 'release' IS NOT NULL
                AND (r.state IS DISTINCT FROM 'RolledBack' OR r.revision <> a.revision OR r.superseded_by IS NOT NULL)
                AND EXISTS (
                  SELECT 1 FROM cell_decision d WHERE d.app = a.id AND d.slot = 'main' AND d.revision <> a.revision) AS due
              FROM application a
              -- The limit keeps the planner from a plan that reads all releases.
              LEFT JOIN LATERAL (SELECT * FROM application_release l WHERE l.app = a.id LIMIT 1) r ON true
              WHERE a.id = ANY($1)) c
            WHERE due OR state = 'Open' ORDER BY id"#,
            apps as _
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(ReleaseCandidate {
                    app: AppId(row.id),
                    key: AppKey { namespace: row.namespace, name: row.name },
                    wanted: parse_hash(&row.revision, "application.revision")?,
                    is_due: row.due,
                    is_decided: row.decided,
                })
            })
            .collect()
    }

    /// Returns all applications that ask for releases or have an open one.
    pub async fn release_applications(&self) -> Result<Vec<AppId>, StoreError> {
        let ids = sqlx::query_scalar!(
            r#"
            SELECT id AS "id!" FROM application WHERE intent -> 'release' IS NOT NULL
            UNION SELECT app FROM application_release WHERE state = 'Open' ORDER BY 1"#
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(ids.into_iter().map(AppId).collect())
    }

    /// Returns the applications that the given operations change alone, which those are that release one.
    pub async fn release_applications_of(&self, operations: &[OperationId]) -> Result<Vec<AppId>, StoreError> {
        let operations: Vec<Uuid> = operations.iter().copied().map(Uuid::from).collect();
        let ids = sqlx::query_scalar!(
            r#"
            SELECT a.id FROM operation o
            JOIN application a ON a.namespace = split_part(o.spec ->> 'application', '/', 1)
              AND a.name = split_part(o.spec ->> 'application', '/', 2)
            WHERE o.id = ANY($1)"#,
            &operations
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(ids.into_iter().map(AppId).collect())
    }

    /// Returns the release operations with this subject that are not over.
    pub async fn release_operations_open(&self, subject: &str) -> Result<Vec<OpenReleaseOperation>, StoreError> {
        let rows = sqlx::query!(
            r#"
            SELECT id, spec FROM operation
            WHERE subject = $1 AND kind = 'release'
              AND state IN ('Pending', 'AwaitingApproval', 'AwaitingLocks', 'Running', 'Pausing', 'Paused', 'Cancelling', 'Failing')
            ORDER BY created_at"#,
            subject
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(|row| OpenReleaseOperation { id: row.id.into(), spec: row.spec }).collect())
    }
}

async fn conclude(
    transaction: &mut Txn,
    key: &ReleaseKey,
    owner: &str,
    state: ReleaseState,
    message: &str,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO application_release AS r (app, revision, previous, operation, state, message, superseded_by)
        SELECT a.id, $2, $3, $4, $5, $6, CASE WHEN $5 = 'RolledBack' AND a.revision <> $2 THEN a.revision END
        FROM application a WHERE a.id = $1
        ON CONFLICT (app) DO UPDATE SET revision = excluded.revision, previous = excluded.previous,
          operation = excluded.operation, state = excluded.state, message = excluded.message,
          superseded_by = excluded.superseded_by, changed_at = now()
        WHERE r.operation = excluded.operation OR r.state <> 'Open'"#,
        key.app.0,
        key.revision.as_bytes(),
        key.previous.as_bytes(),
        Uuid::from(key.operation),
        state.as_str(),
        clean::text(message)
    )
    .execute(&mut **transaction)
    .await?;
    sqlx::query!("DELETE FROM placement_directive WHERE owner = $1", owner).execute(&mut **transaction).await?;
    Ok(())
}
