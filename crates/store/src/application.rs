//! Rows of applications as intake stored them, and their revisions.

use jiff::Timestamp;
use jiff_sqlx::Timestamp as Ts;
use runtime::crash::{Side, point};
use serde_json::Value;
use vocabulary::{AppKey, ContentHash};

use crate::payload::{self, Payload};
use crate::seal::EnvelopeKey;
use crate::stored_hash::{optional_bytes, parse_hash, parse_optional_hash};
use crate::{AppId, Claim, Store, StoreError, revision};

/// Treatment of the delivered objects when their Application or Cluster is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// The objects stay in the member, without Meridian's labels.
    Orphan,
    /// The objects are deleted from the member.
    Delete,
}

impl Removal {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Orphan => "Orphan",
            Self::Delete => "Delete",
        }
    }

    pub(crate) fn parse(text: Option<String>) -> Result<Option<Self>, StoreError> {
        match text.as_deref() {
            None => Ok(None),
            Some("Orphan") => Ok(Some(Self::Orphan)),
            Some("Delete") => Ok(Some(Self::Delete)),
            Some(other) => Err(StoreError::corrupt("removal", other)),
        }
    }
}

/// An application as intake writes it.
#[derive(Debug, Clone)]
pub struct ApplicationTaken {
    /// Namespace and name of the Application.
    pub key: AppKey,
    /// UID of the `kube-system` namespace of the hub.
    pub hub_uid: String,
    /// UID of the Application object.
    pub object_uid: String,
    /// Generation of the Application object.
    pub generation: i64,
    /// Hash of the whole spec.
    pub spec_hash: ContentHash,
    /// The intent: everything except components and overrides.
    pub intent: Value,
    /// Hash of components and overrides.
    pub revision: ContentHash,
    /// Components and overrides as JSON.
    pub payload: Vec<u8>,
    /// Whether the payload contains a Secret.
    pub secret: bool,
    /// Kind of the component whose replicas are divided over cells, such as `apps/v1/Deployment`.
    pub divided_kind: Option<String>,
    /// Hash of the rebalance plan that a user asked for.
    pub rebalance_asked: Option<ContentHash>,
    /// Hash of the delete plan that a user confirmed.
    pub delete_confirmed: Option<ContentHash>,
    /// Whether a user accepted this intent although its source was lost.
    pub accepted: bool,
}

/// An application as stored.
#[derive(Debug, Clone)]
pub struct ApplicationRow {
    /// Row id.
    pub id: AppId,
    /// Namespace and name of the Application.
    pub key: AppKey,
    /// UID of the hub that intake read the Application from.
    pub hub_uid: String,
    /// UID of the Application object.
    pub object_uid: String,
    /// Generation that intake stored last.
    pub generation: i64,
    /// Hash of the spec that intake stored last.
    pub spec_hash: ContentHash,
    /// The intent: everything except components and overrides.
    pub intent: Value,
    /// The desired revision.
    pub revision: ContentHash,
    /// Treatment of the delivered objects; set while the Application is being deleted.
    pub removal: Option<Removal>,
    /// When the deletion began.
    pub removal_since: Option<Timestamp>,
    /// Hash of the delete plan that a user confirmed.
    pub delete_confirmed: Option<ContentHash>,
    /// Hash of the rebalance plan that a user asked for.
    pub rebalance_asked: Option<ContentHash>,
    /// Hash of the rebalance plan that was carried out last.
    pub rebalance_done: Option<ContentHash>,
    /// Hash of the inputs of the last decision.
    pub input_hash: Option<ContentHash>,
    /// Record of the last decision, for users.
    pub decision: Option<Value>,
    /// When the last decision was made.
    pub decided_at: Option<Timestamp>,
    /// Generation that the placement was last brought up to; below `generation` while a decision is due.
    pub decided_generation: i64,
    /// Version that rises with every committed decision.
    pub decision_version: i64,
    /// Number of times that intake stored the Application because a user accepted it.
    pub acceptances: i64,
}

/// Applications for which an observation in a member may matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InMotion {
    /// Applications being removed or not decided yet, or with replicas, revision or inputs on their way.
    pub moving: Vec<AppId>,
    /// Applications in which nothing moves, and whose revision may be fully ready for the first time.
    pub arrived: Vec<AppId>,
}

macro_rules! application_row {
    ($row:expr) => {{
        let row = $row;
        Ok::<_, StoreError>(ApplicationRow {
            id: AppId(row.id),
            key: AppKey { namespace: row.namespace, name: row.name },
            hub_uid: row.hub_uid,
            object_uid: row.object_uid,
            generation: row.generation,
            spec_hash: parse_hash(&row.spec_hash, "application.spec_hash")?,
            intent: row.intent,
            revision: parse_hash(&row.revision, "application.revision")?,
            removal: Removal::parse(row.removal)?,
            removal_since: row.removal_since.map(Ts::to_jiff),
            delete_confirmed: parse_optional_hash(row.delete_confirmed, "application.delete_confirmed")?,
            rebalance_asked: parse_optional_hash(row.rebalance_asked, "application.rebalance_asked")?,
            rebalance_done: parse_optional_hash(row.rebalance_done, "application.rebalance_done")?,
            input_hash: parse_optional_hash(row.input_hash, "application.input_hash")?,
            decision: row.decision,
            decided_at: row.decided_at.map(Ts::to_jiff),
            decided_generation: row.decided_generation,
            decision_version: row.decision_version,
            acceptances: row.acceptances,
        })
    }};
}

impl Store {
    /// Stores an application together with its revision, and returns the id of its row.
    ///
    /// The row exists afterwards, with these values.
    pub async fn application_take(
        &self,
        claim: &Claim,
        taken: &ApplicationTaken,
        key: &EnvelopeKey,
    ) -> Result<AppId, StoreError> {
        let payload = Payload::pack(&taken.payload, taken.secret, key)?;
        point("application_take", Side::Before);
        // One statement is one transaction. It checks and holds the claim, as every other write does.
        let row = sqlx::query!(
            r#"
            WITH claim AS MATERIALIZED (
              SELECT 1 FROM lease WHERE name = $11 AND epoch = $12 AND expires_at > now() FOR KEY SHARE
            ), body AS (
              INSERT INTO payload (hash, sealed, body) SELECT $13, $14, $15 FROM claim ON CONFLICT DO NOTHING
            ), taken AS (
              INSERT INTO application (namespace, name, hub_uid, object_uid, generation, spec_hash, intent, revision, rebalance_asked, delete_confirmed, acceptances)
              SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $16 FROM claim
              ON CONFLICT (namespace, name) DO UPDATE SET
                hub_uid = excluded.hub_uid, object_uid = excluded.object_uid, generation = excluded.generation,
                spec_hash = excluded.spec_hash, intent = excluded.intent, revision = excluded.revision,
                removal = NULL, removal_since = NULL, rebalance_asked = excluded.rebalance_asked,
                delete_confirmed = excluded.delete_confirmed,
                acceptances = application.acceptances + excluded.acceptances,
                -- Intent of another origin may have a generation that was decided already, for the old one.
                decided_generation = CASE
                  WHEN application.object_uid = excluded.object_uid
                    AND (application.generation < excluded.generation OR application.spec_hash = excluded.spec_hash)
                  THEN application.decided_generation ELSE 0 END
              RETURNING id
            )
            INSERT INTO app_revision (app, revision, payload, divided_kind) SELECT id, $8, $13, $17 FROM taken
            ON CONFLICT (app, revision) DO UPDATE SET payload = excluded.payload, divided_kind = excluded.divided_kind
            RETURNING app, (SELECT count(*) FROM app_revision k WHERE k.app = app_revision.app) AS "kept!""#,
            taken.key.namespace,
            taken.key.name,
            taken.hub_uid,
            taken.object_uid,
            taken.generation,
            taken.spec_hash.as_bytes(),
            taken.intent,
            taken.revision.as_bytes(),
            optional_bytes(taken.rebalance_asked.as_ref()),
            optional_bytes(taken.delete_confirmed.as_ref()),
            claim.lease,
            claim.epoch,
            payload.hash,
            payload.sealed,
            payload.body,
            i64::from(taken.accepted),
            taken.divided_kind,
        )
        .fetch_optional(&self.pool)
        .await
        .map_err(StoreError::of_commit("application_take"))?
        .ok_or_else(|| StoreError::Fenced { lease: claim.lease.clone(), epoch: claim.epoch })?;
        point("application_take", Side::After);
        // `kept` does not count the revision that this statement added.
        if row.kept >= revision::KEPT {
            let mut write = self.write(claim, "revisions_collect").await?;
            revision::collect(&mut write, AppId(row.app)).await?;
            write.commit().await?;
        }
        Ok(AppId(row.app))
    }

    /// Marks an application as being deleted, or changes its removal or its confirmed delete plan.
    ///
    /// The time at which the deletion began does not change.
    pub async fn application_remove(
        &self,
        claim: &Claim,
        id: AppId,
        removal: Removal,
        delete_confirmed: Option<ContentHash>,
    ) -> Result<(), StoreError> {
        let mut write = self.write(claim, "application_remove").await?;
        sqlx::query!(
            r#"
            UPDATE application SET removal = $2, delete_confirmed = $3, removal_since = coalesce(removal_since, now())
            WHERE id = $1"#,
            id.0,
            removal.as_str(),
            optional_bytes(delete_confirmed.as_ref())
        )
        .execute(&mut **write)
        .await?;
        write.commit().await
    }

    /// Deletes an application that has no placement left; only the UID of its object stays stored.
    ///
    /// Returns whether the application was deleted.
    pub async fn application_forget(&self, claim: &Claim, id: AppId) -> Result<bool, StoreError> {
        let mut write = self.write(claim, "application_forget").await?;
        // The revisions are deleted with the application. This statement still reads them.
        let revisions = sqlx::query_scalar!(
            r#"
            WITH gone AS (
              DELETE FROM application
              WHERE id = $1 AND removal IS NOT NULL AND NOT EXISTS (SELECT 1 FROM placement WHERE app = $1)
              RETURNING id, object_uid
            ), kept AS (
              -- A hub that is restored from before shows the object again.
              INSERT INTO forgotten_application (object_uid) SELECT object_uid FROM gone
              ON CONFLICT (object_uid) DO UPDATE SET forgotten_at = excluded.forgotten_at
            ), pruned AS (
              DELETE FROM forgotten_application
              WHERE forgotten_at < now() - interval '90 days' AND EXISTS (SELECT 1 FROM gone)
                -- No statement changes a row twice.
                AND object_uid NOT IN (SELECT object_uid FROM gone)
            )
            SELECT r.payload AS "payload?" FROM gone LEFT JOIN app_revision r ON r.app = gone.id"#,
            id.0
        )
        .fetch_all(&mut **write)
        .await?;
        let gone = !revisions.is_empty();
        let payloads: Vec<Vec<u8>> = revisions.into_iter().flatten().collect();
        payload::collect(&mut write, &payloads).await?;
        write.commit().await?;
        Ok(gone)
    }

    /// Returns applications with these ids, ordered by id. Unknown ids are left out.
    pub async fn application_list(&self, ids: &[AppId]) -> Result<Vec<ApplicationRow>, StoreError> {
        let rows = sqlx::query!(
            r#"
            SELECT id, namespace, name, hub_uid, object_uid, generation, spec_hash, intent, revision, removal,
                   removal_since AS "removal_since: Ts", delete_confirmed, rebalance_asked, rebalance_done, input_hash, decision, decided_at AS "decided_at: Ts", decided_generation, decision_version, acceptances
            FROM application WHERE id = ANY($1) ORDER BY id"#,
            ids as _
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(|row| application_row!(row)).collect()
    }

    /// Returns the application with this name.
    pub async fn application_get(&self, key: &AppKey) -> Result<Option<ApplicationRow>, StoreError> {
        let row = sqlx::query!(
            r#"
            SELECT id, namespace, name, hub_uid, object_uid, generation, spec_hash, intent, revision, removal,
                   removal_since AS "removal_since: Ts", delete_confirmed, rebalance_asked, rebalance_done, input_hash, decision, decided_at AS "decided_at: Ts", decided_generation, decision_version, acceptances
            FROM application WHERE namespace = $1 AND name = $2"#,
            key.namespace,
            key.name
        )
        .fetch_optional(&self.pool)
        .await?;
        row.map(|row| application_row!(row)).transpose()
    }

    /// Returns applications with these names. Unknown names are left out.
    pub async fn application_get_many(&self, keys: &[AppKey]) -> Result<Vec<ApplicationRow>, StoreError> {
        let namespaces: Vec<&str> = keys.iter().map(|key| key.namespace.as_str()).collect();
        let names: Vec<&str> = keys.iter().map(|key| key.name.as_str()).collect();
        let rows = sqlx::query!(
            r#"
            SELECT id, a.namespace, a.name, hub_uid, object_uid, generation, spec_hash, intent, revision, removal,
                   removal_since AS "removal_since: Ts", delete_confirmed, rebalance_asked, rebalance_done, input_hash, decision, decided_at AS "decided_at: Ts", decided_generation, decision_version, acceptances
            FROM unnest($1::text[], $2::text[]) AS w (namespace, name)
            JOIN application a ON a.namespace = w.namespace AND a.name = w.name"#,
            &namespaces as _,
            &names as _,
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(|row| application_row!(row)).collect()
    }

    /// Returns ids and names of all applications.
    pub async fn application_keys(&self) -> Result<Vec<(AppId, AppKey)>, StoreError> {
        let rows =
            sqlx::query!("SELECT id, namespace, name FROM application ORDER BY id").fetch_all(&self.pool).await?;
        Ok(rows.into_iter().map(|row| (AppId(row.id), AppKey { namespace: row.namespace, name: row.name })).collect())
    }

    /// Returns applications whose last decision left replicas without a place, or held the placement.
    pub async fn application_short(&self) -> Result<Vec<AppId>, StoreError> {
        let ids =
            sqlx::query_scalar!("SELECT id FROM application WHERE short ORDER BY id").fetch_all(&self.pool).await?;
        Ok(ids.into_iter().map(AppId).collect())
    }

    /// Returns applications with a decided object that has no placement row.
    ///
    /// Such an object waits until another owner, a right or a kind changes, which can happen at any time.
    pub async fn application_blocked(&self) -> Result<Vec<AppId>, StoreError> {
        let ids =
            sqlx::query_scalar!("SELECT id FROM application WHERE blocked ORDER BY id").fetch_all(&self.pool).await?;
        Ok(ids.into_iter().map(AppId).collect())
    }

    /// Returns those of the given applications for which an observation in a member may matter.
    pub async fn application_in_motion(&self, ids: &[AppId]) -> Result<InMotion, StoreError> {
        // The query computes the value `bool_and(settled)` and avoids `NOT EXISTS` over the join. With `NOT EXISTS`,
        // a plan made on empty tables reads every placement of the fleet.
        let rows = sqlx::query!(
            r#"
            SELECT id, moving AS "moving!" FROM (
              SELECT a.id, a.revision,
                a.removal IS NOT NULL OR a.decided_generation <> a.generation
                OR EXISTS (
                  SELECT 1 FROM placement p
                  WHERE p.app = a.id AND (p.wish <> 'Present' OR p.floor > p.target OR p.revision <> a.revision))
                -- Cells that wait for their turn to take what they are now.
                OR EXISTS (
                  SELECT 1 FROM cell_decision d
                  WHERE d.app = a.id AND d.inputs IS DISTINCT FROM d.inputs_wanted) AS moving
              FROM application a WHERE a.id = ANY($1)) a
            WHERE moving OR (
              NOT EXISTS (SELECT 1 FROM app_revision r WHERE r.app = a.id AND r.revision = a.revision AND r.was_ready)
              AND coalesce((
                SELECT bool_and(coalesce(s.settled, false)) FROM placement p
                LEFT JOIN placement_status s ON s.placement = p.id WHERE p.app = a.id), true))"#,
            ids as _
        )
        .fetch_all(&self.pool)
        .await?;
        let mut found = InMotion::default();
        for row in rows {
            if row.moving { found.moving.push(AppId(row.id)) } else { found.arrived.push(AppId(row.id)) }
        }
        Ok(found)
    }

    /// Returns the distinct `failoverAfter` times of all applications, in seconds.
    ///
    /// After this time of silence of a cluster, its applications run elsewhere.
    pub async fn application_failover_times(&self) -> Result<Vec<i64>, StoreError> {
        Ok(sqlx::query_scalar!(
            r#"
            SELECT DISTINCT (intent ->> 'failoverAfter')::bigint AS "seconds!" FROM application
            WHERE intent ->> 'failoverAfter' IS NOT NULL ORDER BY 1"#
        )
        .fetch_all(&self.pool)
        .await?)
    }
}
