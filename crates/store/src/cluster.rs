//! Member clusters as taken in, and what is known of them.

use jiff::Timestamp;
use jiff_sqlx::{Timestamp as Ts, ToSqlx};
use runtime::crash::{Side, point};
use serde_json::Value;

use crate::{Claim, Removal, Store, StoreError, clean};

/// What intake writes.
#[derive(Debug, Clone)]
pub struct ClusterTaken {
    /// Name.
    pub name: String,
    /// UID of the object on the hub.
    pub object_uid: String,
    /// UID of the member's kube-system namespace.
    pub member_uid: String,
    /// Generation of the object.
    pub generation: i64,
    /// Its resourceVersion, where that is a number.
    pub resource_version: Option<i64>,
    /// Its labels.
    pub labels: Value,
    /// Its spec.
    pub spec: Value,
    /// Set when the object is being deleted.
    pub removal: Option<Removal>,
    /// Set when a person says that the member is gone for good.
    pub gone: bool,
}

/// One cluster with what is known of it.
#[derive(Debug, Clone)]
pub struct ClusterRow {
    /// As taken in.
    pub taken: ClusterTaken,
    /// What is known; nothing before the first contact.
    pub status: Option<ClusterStatusRow>,
}

/// Reason of a cluster that answers again and does not count as well yet.
pub const RECOVERING: &str = "Recovering";

/// What is known of a cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterStatusRow {
    /// `Pass`, `Fail` or `Unknown`.
    pub health: String,
    /// One word.
    pub reason: String,
    /// What is wrong and what to do.
    pub message: String,
    /// Last sign of life.
    pub as_of: Option<Timestamp>,
    /// When whoever delivers there judged it last: a judgement that is old says nothing about now.
    pub checked_at: Option<Timestamp>,
    /// Since when it is not well; nothing while it is.
    pub unhealthy_since: Option<Timestamp>,
    /// Since when it does not answer; nothing while it answers, also where it refuses us.
    pub silent_since: Option<Timestamp>,
    /// The signals health is made of: a list of name, verdict and message.
    pub signals: Value,
    /// Kubernetes version.
    pub version: Option<String>,
    /// Version of what join installed there.
    pub installation: Option<i32>,
    /// Kinds that may be delivered: a list of texts.
    pub kinds: Value,
    /// Capacity per zone.
    pub capacity: Value,
}

impl ClusterStatusRow {
    /// Before anything is known.
    pub fn unknown() -> Self {
        Self {
            health: String::new(),
            reason: String::new(),
            message: String::new(),
            as_of: None,
            checked_at: None,
            unhealthy_since: None,
            silent_since: None,
            signals: Value::Array(Vec::new()),
            version: None,
            installation: None,
            kinds: Value::Array(Vec::new()),
            capacity: Value::Array(Vec::new()),
        }
    }
}

macro_rules! cluster_taken {
    ($row:ident) => {
        Removal::parse($row.removal).map(|removal| ClusterTaken {
            name: $row.name,
            object_uid: $row.object_uid,
            member_uid: $row.member_uid,
            generation: $row.generation,
            resource_version: $row.resource_version,
            labels: $row.labels,
            spec: $row.spec,
            removal,
            gone: $row.gone,
        })
    };
}

macro_rules! cluster_row {
    ($row:expr) => {{
        let row = $row;
        let status = match (row.health, row.reason, row.message, row.signals, row.kinds, row.capacity) {
            (Some(health), Some(reason), Some(message), Some(signals), Some(kinds), Some(capacity)) => {
                Some(ClusterStatusRow {
                    health,
                    reason,
                    message,
                    as_of: row.as_of.map(Ts::to_jiff),
                    checked_at: row.checked_at.map(Ts::to_jiff),
                    unhealthy_since: row.unhealthy_since.map(Ts::to_jiff),
                    silent_since: row.silent_since.map(Ts::to_jiff),
                    signals,
                    version: row.version,
                    installation: row.installation,
                    kinds,
                    capacity,
                })
            }
            _ => None,
        };
        Ok::<_, StoreError>(ClusterRow { taken: cluster_taken!(row)?, status })
    }};
}

impl Store {
    /// Takes a cluster in, with its implicit cell.
    pub async fn cluster_take(&self, claim: &Claim, taken: &ClusterTaken) -> Result<(), StoreError> {
        let mut write = self.write(claim, "cluster_take").await?;
        sqlx::query!(
            r#"
            INSERT INTO cluster (name, object_uid, member_uid, generation, labels, spec, removal, gone, resource_version)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
            ON CONFLICT (name) DO UPDATE SET object_uid = excluded.object_uid, member_uid = excluded.member_uid,
              generation = excluded.generation, labels = excluded.labels, spec = excluded.spec, removal = excluded.removal,
              gone = excluded.gone, resource_version = excluded.resource_version"#,
            taken.name,
            taken.object_uid,
            taken.member_uid,
            taken.generation,
            taken.labels,
            taken.spec,
            taken.removal.map(Removal::as_str),
            taken.gone,
            taken.resource_version,
        )
        .execute(&mut **write)
        .await?;
        sqlx::query!("INSERT INTO cell (name) VALUES ($1) ON CONFLICT DO NOTHING", taken.name)
            .execute(&mut **write)
            .await?;
        write.commit().await
    }

    /// Another member takes the name over: what was observed and the old credential are dropped, so that
    /// everything decided for the cluster is delivered anew.
    pub async fn cluster_replace(&self, claim: &Claim, taken: &ClusterTaken) -> Result<(), StoreError> {
        let mut write = self.write(claim, "cluster_replace").await?;
        sqlx::query!(
            "DELETE FROM placement_status s USING placement p WHERE p.id = s.placement AND p.cluster = $1",
            taken.name
        )
        .execute(&mut **write)
        .await?;
        sqlx::query!("DELETE FROM cluster_status WHERE cluster = $1", taken.name).execute(&mut **write).await?;
        sqlx::query!("DELETE FROM credential WHERE cluster = $1", taken.name).execute(&mut **write).await?;
        sqlx::query!(
            "UPDATE cluster SET object_uid = $2, member_uid = $3, generation = $4, labels = $5, spec = $6, resource_version = $7, joined_at = now() WHERE name = $1",
            taken.name,
            taken.object_uid,
            taken.member_uid,
            taken.generation,
            taken.labels,
            taken.spec,
            taken.resource_version,
        )
        .execute(&mut **write)
        .await?;
        write.commit().await
    }

    /// Forgets a cluster that is being deleted and holds nothing any more. Returns whether it is gone. The authority of its
    /// implicit cell stays: what carries it may still be in the member when the member joins again.
    pub async fn cluster_forget(&self, claim: &Claim, name: &str) -> Result<bool, StoreError> {
        let mut write = self.write(claim, "cluster_forget").await?;
        let gone = sqlx::query!(
            "DELETE FROM cluster WHERE name = $1 AND removal IS NOT NULL AND NOT EXISTS (SELECT 1 FROM placement WHERE cluster = $1)",
            name
        )
        .execute(&mut **write)
        .await?
        .rows_affected()
            == 1;
        write.commit().await?;
        Ok(gone)
    }

    /// When a cluster joined; nothing where it is not known.
    pub async fn cluster_joined_at(&self, name: &str) -> Result<Option<Timestamp>, StoreError> {
        let joined = sqlx::query_scalar!(r#"SELECT joined_at AS "joined_at: Ts" FROM cluster WHERE name = $1"#, name)
            .fetch_optional(&self.pool)
            .await?;
        Ok(joined.map(Ts::to_jiff))
    }

    /// All clusters as taken in, by name.
    pub async fn cluster_taken_list(&self) -> Result<Vec<ClusterTaken>, StoreError> {
        let rows = sqlx::query!(
            "SELECT name, object_uid, member_uid, generation, resource_version, labels, spec, removal, gone FROM cluster ORDER BY name"
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(|row| cluster_taken!(row)).collect()
    }

    /// Clusters as taken in that have this name or are this member, by name.
    pub async fn cluster_taken_alike(&self, name: &str, member_uid: &str) -> Result<Vec<ClusterTaken>, StoreError> {
        let rows = sqlx::query!(
            "SELECT name, object_uid, member_uid, generation, resource_version, labels, spec, removal, gone FROM cluster
             WHERE name = $1 OR member_uid = $2 ORDER BY name",
            name,
            member_uid
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(|row| cluster_taken!(row)).collect()
    }

    /// All clusters with what is known of them, by name.
    pub async fn cluster_list(&self) -> Result<Vec<ClusterRow>, StoreError> {
        let rows = sqlx::query!(
            r#"
            SELECT c.name, c.object_uid, c.member_uid, c.generation, c.resource_version, c.labels, c.spec, c.removal, c.gone,
                   s.health AS "health?", s.reason AS "reason?", s.message AS "message?", s.as_of AS "as_of: Ts",
                   s.checked_at AS "checked_at: Ts", s.unhealthy_since AS "unhealthy_since: Ts",
                   s.silent_since AS "silent_since: Ts", s.signals AS "signals?", s.version, s.installation, s.kinds AS "kinds?", s.capacity AS "capacity?"
            FROM cluster c LEFT JOIN cluster_status s ON s.cluster = c.name ORDER BY c.name"#
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(|row| cluster_row!(row)).collect()
    }

    /// One cluster.
    pub async fn cluster_get(&self, name: &str) -> Result<Option<ClusterRow>, StoreError> {
        let row = sqlx::query!(
            r#"
            SELECT c.name, c.object_uid, c.member_uid, c.generation, c.resource_version, c.labels, c.spec, c.removal, c.gone,
                   s.health AS "health?", s.reason AS "reason?", s.message AS "message?", s.as_of AS "as_of: Ts",
                   s.checked_at AS "checked_at: Ts", s.unhealthy_since AS "unhealthy_since: Ts",
                   s.silent_since AS "silent_since: Ts", s.signals AS "signals?", s.version, s.installation, s.kinds AS "kinds?", s.capacity AS "capacity?"
            FROM cluster c LEFT JOIN cluster_status s ON s.cluster = c.name WHERE c.name = $1"#,
            name
        )
        .fetch_optional(&self.pool)
        .await?;
        row.map(|row| cluster_row!(row)).transpose()
    }

    /// Writes what is known of a cluster; the writer holds the cluster's delivery lease.
    /// A cluster that is no longer there is no error.
    pub async fn cluster_status_set(
        &self,
        claim: &Claim,
        cluster: &str,
        status: &ClusterStatusRow,
    ) -> Result<(), StoreError> {
        let mut write = self.write(claim, "cluster_status_set").await?;
        sqlx::query!(
            r#"
            INSERT INTO cluster_status (cluster, health, reason, message, as_of, checked_at, unhealthy_since, signals, version, installation, kinds, capacity, silent_since)
            SELECT name, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13 FROM cluster WHERE name = $1
            ON CONFLICT (cluster) DO UPDATE SET health = excluded.health, reason = excluded.reason, message = excluded.message,
              as_of = excluded.as_of, checked_at = excluded.checked_at, unhealthy_since = excluded.unhealthy_since, signals = excluded.signals,
              version = excluded.version, installation = excluded.installation, kinds = excluded.kinds, capacity = excluded.capacity,
              silent_since = excluded.silent_since"#,
            cluster,
            status.health,
            clean::text(&status.reason),
            clean::text(&status.message),
            status.as_of.map(Timestamp::to_sqlx) as _,
            status.checked_at.map(Timestamp::to_sqlx) as _,
            status.unhealthy_since.map(Timestamp::to_sqlx) as _,
            clean::json(&status.signals),
            status.version.as_deref().map(clean::text),
            status.installation,
            clean::json(&status.kinds),
            clean::json(&status.capacity),
            status.silent_since.map(Timestamp::to_sqlx) as _,
        )
        .execute(&mut **write)
        .await?;
        write.commit().await
    }

    /// Remembers when a cluster was judged last and, if it gave one, its last sign of life. Nothing else changed.
    pub async fn cluster_seen(
        &self,
        claim: &Claim,
        cluster: &str,
        as_of: Option<Timestamp>,
        checked_at: Timestamp,
    ) -> Result<(), StoreError> {
        point("cluster_seen", Side::Before);
        // One statement, and so one transaction: every member has its own, all the time.
        let held = sqlx::query_scalar!(
            r#"
            WITH claim AS MATERIALIZED (
              SELECT 1 FROM lease WHERE name = $4 AND epoch = $5 AND expires_at > now() FOR KEY SHARE
            ), written AS (
              UPDATE cluster_status SET as_of = coalesce($2, as_of), checked_at = $3 FROM claim WHERE cluster = $1
            ) SELECT count(*) AS "held!" FROM claim"#,
            cluster,
            as_of.map(Timestamp::to_sqlx) as _,
            checked_at.to_sqlx() as _,
            claim.lease,
            claim.epoch,
        )
        .fetch_one(&self.pool)
        .await
        .map_err(StoreError::of_commit("cluster_seen"))?;
        point("cluster_seen", Side::After);
        if held == 0 {
            return Err(StoreError::Fenced { lease: claim.lease.clone(), epoch: claim.epoch });
        }
        Ok(())
    }

    /// How many applications have an object in each cluster.
    pub async fn cluster_app_counts(&self) -> Result<Vec<(String, i64)>, StoreError> {
        let rows = sqlx::query!(r#"SELECT cluster, count(DISTINCT app) AS "apps!" FROM placement GROUP BY cluster"#)
            .fetch_all(&self.pool)
            .await?;
        Ok(rows.into_iter().map(|row| (row.cluster, row.apps)).collect())
    }
}
