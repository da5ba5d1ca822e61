//! Member clusters as intake stored them, and their observed status.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use jiff_sqlx::{Timestamp as Ts, ToSqlx};
use runtime::crash::{Side, point};
use serde_json::Value;

use vocabulary::Verdict;

use crate::{Claim, Removal, Store, StoreError, clean};

/// A cluster as intake writes it.
#[derive(Debug, Clone)]
pub struct ClusterTaken {
    /// Name of the cluster.
    pub name: String,
    /// UID of the Cluster object on the hub.
    pub object_uid: String,
    /// UID of the `kube-system` namespace of the member.
    pub member_uid: String,
    /// Generation of the Cluster object.
    pub generation: i64,
    /// `resourceVersion` of the Cluster object, where it is a number.
    pub resource_version: Option<i64>,
    /// Labels of the Cluster object.
    pub labels: Value,
    /// Spec of the Cluster object.
    pub spec: Value,
    /// Treatment of the delivered objects; set while the Cluster object is being deleted.
    pub removal: Option<Removal>,
    /// Whether a user declared that the member is gone for good.
    pub gone: bool,
}

/// A cluster with its observed status.
#[derive(Debug, Clone)]
pub struct ClusterRow {
    /// The cluster as intake stored it.
    pub taken: ClusterTaken,
    /// Observed status; `None` before the first contact.
    pub status: Option<ClusterStatusRow>,
}

/// Health reason of a cluster that answers again and does not count as healthy yet.
pub const RECOVERING: &str = "Recovering";

/// Observed status of a cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterStatusRow {
    /// Health of the cluster: `Pass`, `Fail` or `Unknown`.
    pub health: Verdict,
    /// Reason of the health, in one word.
    pub reason: String,
    /// Message for users: what is wrong and what to do.
    pub message: String,
    /// Time of the last sign of life of the member.
    pub as_of: Option<Timestamp>,
    /// When the deliverer last judged the cluster.
    ///
    /// An old judgement gives no information about the present health.
    pub checked_at: Option<Timestamp>,
    /// When the cluster became unhealthy; `None` while it is healthy.
    pub unhealthy_since: Option<Timestamp>,
    /// When the member stopped answering; `None` while it answers, even by refusing requests.
    pub silent_since: Option<Timestamp>,
    /// Signals that determine the health: a list of name, verdict and message.
    pub signals: Value,
    /// Kubernetes version of the member.
    pub version: Option<String>,
    /// Version of the objects that `join` installed in the member.
    pub installation: Option<i32>,
    /// Kinds that may be delivered to the member: a list of texts.
    pub kinds: Value,
    /// Capacity of the cluster per zone.
    pub capacity: Value,
}

impl ClusterStatusRow {
    /// Returns the status of a cluster of which nothing was observed yet.
    pub fn unknown() -> Self {
        Self {
            health: Verdict::Unknown,
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
                    health: Verdict::parse(&health),
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
    /// Stores a cluster together with its implicit cell.
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

    /// Replaces the member behind a cluster's name.
    ///
    /// Deletes the observed status and the old credential, so that every decided object is delivered again.
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

    /// Deletes a cluster that is being deleted and has no placement left.
    ///
    /// Returns whether the cluster was deleted. The authority epoch of its implicit cell stays stored. Objects with
    /// this authority may still exist in the member when the member joins again.
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
        if gone {
            // Another cluster may join under the name, and is not what they were about.
            sqlx::query!("DELETE FROM placement_directive WHERE scope -> 'Cluster' ->> 'cluster' = $1", name)
                .execute(&mut **write)
                .await?;
        }
        write.commit().await?;
        Ok(gone)
    }

    /// Returns when a cluster joined; `None` for an unknown cluster.
    pub async fn cluster_joined_at(&self, name: &str) -> Result<Option<Timestamp>, StoreError> {
        let joined = sqlx::query_scalar!(r#"SELECT joined_at AS "joined_at?: Ts" FROM cluster WHERE name = $1"#, name)
            .fetch_optional(&self.pool)
            .await?;
        Ok(joined.flatten().map(Ts::to_jiff))
    }

    /// Returns all clusters as intake stored them, ordered by name.
    pub async fn cluster_taken_list(&self) -> Result<Vec<ClusterTaken>, StoreError> {
        let rows = sqlx::query!(
            "SELECT name, object_uid, member_uid, generation, resource_version, labels, spec, removal, gone FROM cluster ORDER BY name"
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(|row| cluster_taken!(row)).collect()
    }

    /// Returns clusters with this name or this member UID, as intake stored them, ordered by name.
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

    /// Returns all clusters with their observed status, ordered by name.
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

    /// Returns the cluster with this name.
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

    /// Writes the observed status of a cluster. The claim is the cluster's delivery lease.
    ///
    /// A cluster that no longer exists is not an error.
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
            status.health.as_str(),
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

    /// Writes when a cluster was last judged and, where given, the time of its last sign of life.
    ///
    /// Callers use this write when nothing else of the status changed.
    pub async fn cluster_seen(
        &self,
        claim: &Claim,
        cluster: &str,
        as_of: Option<Timestamp>,
        checked_at: Timestamp,
    ) -> Result<(), StoreError> {
        point("cluster_seen", Side::Before);
        // One statement is one transaction. This write runs all the time, once for each member.
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

    /// Returns those of the given clusters that are healthy, and were judged within this time.
    pub async fn cluster_healthy_of(
        &self,
        names: &[String],
        judged_within: Duration,
    ) -> Result<BTreeSet<String>, StoreError> {
        let healthy = sqlx::query_scalar!(
            r#"
            SELECT cluster FROM cluster_status
            WHERE cluster = ANY($1) AND health = 'Pass' AND checked_at > now() - make_interval(secs => $2)"#,
            names,
            judged_within.as_secs_f64()
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(healthy.into_iter().collect())
    }

    /// Returns for each cluster the number of applications that have an object there.
    pub async fn cluster_app_counts(&self) -> Result<Vec<(String, i64)>, StoreError> {
        let rows = sqlx::query!(r#"SELECT cluster, count(DISTINCT app) AS "apps!" FROM placement GROUP BY cluster"#)
            .fetch_all(&self.pool)
            .await?;
        Ok(rows.into_iter().map(|row| (row.cluster, row.apps)).collect())
    }
}
