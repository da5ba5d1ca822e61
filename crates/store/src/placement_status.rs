//! Status of placements: only the deliverer of the cluster writes it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff_sqlx::{Timestamp as Ts, ToSqlx};
use runtime::crash::{Side, point};
use vocabulary::ContentHash;

use crate::parsed_rows::readable;
use crate::stored_hash::{optional_bytes, parse_optional_hash};
use crate::{AppId, Claim, PlacementId, Store, StoreError, clean};

/// State of the delivery of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectState {
    /// The member accepted the object.
    Applied,
    /// Another owner has the object, or a policy refuses it; a user must act.
    Refused,
    /// The last attempt failed; the deliverer will retry.
    Failed,
    /// The object is being deleted.
    Deleting,
    /// The object no longer exists, as desired.
    Gone,
    /// The object was released: it stays in the member without belonging to Meridian.
    Released,
}

impl ObjectState {
    /// Returns the text form in the database and in status.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "Applied",
            Self::Refused => "Refused",
            Self::Failed => "Failed",
            Self::Deleting => "Deleting",
            Self::Gone => "Gone",
            Self::Released => "Released",
        }
    }

    fn parse(text: &str) -> Result<Self, StoreError> {
        Ok(match text {
            "Applied" => Self::Applied,
            "Refused" => Self::Refused,
            "Failed" => Self::Failed,
            "Deleting" => Self::Deleting,
            "Gone" => Self::Gone,
            "Released" => Self::Released,
            other => return Err(StoreError::corrupt("placement_status.state", other)),
        })
    }

    /// Whether a placement that is to be removed needs no more work.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Gone | Self::Released)
    }
}

/// Status of one placement.
#[derive(Debug, Clone, PartialEq)]
pub struct StatusRow {
    /// Row id of the placement.
    pub placement: PlacementId,
    /// State of the delivery.
    pub state: ObjectState,
    /// Message of the member, or Meridian's own message with the remedy.
    pub message: Option<String>,
    /// Plan epoch of the last apply that the member accepted; 0 before the first.
    pub applied_epoch: u32,
    /// Hash of the applied object, without the fence.
    pub applied_hash: Option<ContentHash>,
    /// Revision of the applied object.
    pub applied_revision: Option<ContentHash>,
    /// Hash of the set of fields that Meridian owned in the member after the last apply.
    pub fields_hash: Option<ContentHash>,
    /// UID of the live object.
    pub object_uid: Option<String>,
    /// Plan epoch that the live object carries; 0 when the object does not exist.
    pub observed_epoch: u32,
    /// Number of replicas that the live object reports.
    pub replicas: i32,
    /// Number of ready replicas.
    pub ready: i32,
    /// Number of available replicas.
    pub available: i32,
    /// Number of replicas of the applied revision.
    pub updated: i32,
    /// Whether the member has completed the last apply: it runs everything asked for, and nothing else.
    pub settled: bool,
    /// Ready pods by zone, where the cell spans several zones; `None` before they were counted.
    pub zones: Option<BTreeMap<String, i32>>,
    /// Fields that another writer changed in the member.
    pub drift: Vec<String>,
    /// Whether the numbers are out of date, because the object's kind cannot be watched in the member.
    ///
    /// Decisions ignore stale numbers.
    pub stale: bool,
    /// Plan epoch of a fence in the member that is not below the row's own; 0 when there is none.
    pub found_epoch: u32,
    /// When any other field of this row changed.
    pub changed_at: Timestamp,
}

impl StatusRow {
    /// Returns the status of a placement of which nothing was observed yet.
    pub fn unknown(placement: PlacementId, now: Timestamp) -> Self {
        Self {
            placement,
            state: ObjectState::Failed,
            message: None,
            applied_epoch: 0,
            applied_hash: None,
            applied_revision: None,
            fields_hash: None,
            object_uid: None,
            observed_epoch: 0,
            replicas: 0,
            ready: 0,
            available: 0,
            updated: 0,
            settled: false,
            zones: None,
            drift: Vec::new(),
            stale: false,
            found_epoch: 0,
            changed_at: now,
        }
    }

    /// Whether two rows are equal in all fields except `changed_at`.
    pub fn same_facts(&self, other: &Self) -> bool {
        Self { changed_at: other.changed_at, ..self.clone() } == *other
    }
}

macro_rules! status_row {
    ($row:expr) => {{
        let row = $row;
        let epoch = |value: i64, what| u32::try_from(value).map_err(|error| StoreError::corrupt(what, error));
        Ok::<_, StoreError>(StatusRow {
            placement: PlacementId(row.placement),
            state: ObjectState::parse(&row.state)?,
            message: row.message,
            applied_epoch: epoch(row.applied_epoch, "placement_status.applied_epoch")?,
            applied_hash: parse_optional_hash(row.applied_hash, "placement_status.applied_hash")?,
            applied_revision: parse_optional_hash(row.applied_revision, "placement_status.applied_revision")?,
            fields_hash: parse_optional_hash(row.fields_hash, "placement_status.fields_hash")?,
            object_uid: row.object_uid,
            observed_epoch: epoch(row.observed_epoch, "placement_status.observed_epoch")?,
            replicas: row.replicas,
            ready: row.ready,
            available: row.available,
            updated: row.updated,
            settled: row.settled,
            zones: row
                .zones
                .map(serde_json::from_value)
                .transpose()
                .map_err(|error| StoreError::corrupt("placement_status.zones", error))?,
            drift: row.drift,
            stale: row.stale,
            found_epoch: epoch(row.found_epoch, "placement_status.found_epoch")?,
            changed_at: row.changed_at.to_jiff(),
        })
    }};
}

fn zones_json(zones: &BTreeMap<String, i32>) -> serde_json::Value {
    zones.iter().map(|(zone, count)| (clean::text(zone), serde_json::Value::from(*count))).collect()
}

impl Store {
    /// Returns status of all placements of the given applications.
    ///
    /// Rows that this version cannot read are left out, and count as not observed.
    pub async fn status_list(&self, apps: &[AppId]) -> Result<Vec<StatusRow>, StoreError> {
        let rows = sqlx::query!(
            r#"
            SELECT s.placement, s.state, s.message, s.applied_epoch, s.applied_hash, s.applied_revision, s.fields_hash, s.object_uid,
                   s.observed_epoch, s.replicas, s.ready, s.available, s.updated, s.settled, s.zones, s.drift,
                   s.stale, s.found_epoch, s.changed_at AS "changed_at: Ts"
            FROM placement_status s JOIN placement p ON p.id = s.placement WHERE p.app = ANY($1)"#,
            apps as _
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(readable("placement_status", rows, |row| PlacementId(row.placement), |row| status_row!(row)))
    }

    /// Returns status of all placements of a cluster.
    ///
    /// Rows that this version cannot read are left out, and count as not observed.
    pub async fn status_in_cluster(&self, cluster: &str) -> Result<Vec<StatusRow>, StoreError> {
        let rows = sqlx::query!(
            r#"
            SELECT s.placement, s.state, s.message, s.applied_epoch, s.applied_hash, s.applied_revision, s.fields_hash, s.object_uid,
                   s.observed_epoch, s.replicas, s.ready, s.available, s.updated, s.settled, s.zones, s.drift,
                   s.stale, s.found_epoch, s.changed_at AS "changed_at: Ts"
            FROM placement_status s JOIN placement p ON p.id = s.placement WHERE p.cluster = $1"#,
            cluster
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(readable("placement_status", rows, |row| PlacementId(row.placement), |row| status_row!(row)))
    }

    /// Writes many status rows at once, each under the claim of the deliverer of its object.
    ///
    /// Placements that no longer exist are left out. Returns the claims that no longer hold: nothing was written
    /// under them.
    pub async fn status_set(&self, claimed: &[(&Claim, &StatusRow)]) -> Result<Vec<Claim>, StoreError> {
        if claimed.is_empty() {
            return Ok(Vec::new());
        }
        let claims: Vec<&Claim> =
            claimed.iter().map(|(claim, _)| *claim).collect::<BTreeSet<_>>().into_iter().collect();
        let leases: Vec<&str> = claims.iter().map(|claim| claim.lease.as_str()).collect();
        let epochs: Vec<i64> = claims.iter().map(|claim| claim.epoch).collect();
        let number = |claim: &Claim| claims.binary_search(&claim).map_or(0, |place| place as i64 + 1);
        let numbers: Vec<i64> = claimed.iter().map(|(claim, _)| number(claim)).collect();
        let rows: Vec<&StatusRow> = claimed.iter().map(|(_, row)| *row).collect();
        let placements: Vec<PlacementId> = rows.iter().map(|row| row.placement).collect();
        let states: Vec<&str> = rows.iter().map(|row| row.state.as_str()).collect();
        // Messages of a member may contain any text.
        let messages: Vec<Option<String>> = rows.iter().map(|row| row.message.as_deref().map(clean::text)).collect();
        let applied_epochs: Vec<i64> = rows.iter().map(|row| i64::from(row.applied_epoch)).collect();
        let applied_hashes: Vec<Option<&[u8]>> =
            rows.iter().map(|row| optional_bytes(row.applied_hash.as_ref())).collect();
        let revisions: Vec<Option<&[u8]>> =
            rows.iter().map(|row| optional_bytes(row.applied_revision.as_ref())).collect();
        let fields: Vec<Option<&[u8]>> = rows.iter().map(|row| optional_bytes(row.fields_hash.as_ref())).collect();
        let uids: Vec<Option<String>> = rows.iter().map(|row| row.object_uid.as_deref().map(clean::text)).collect();
        let observed: Vec<i64> = rows.iter().map(|row| i64::from(row.observed_epoch)).collect();
        let replicas: Vec<i32> = rows.iter().map(|row| row.replicas).collect();
        let ready: Vec<i32> = rows.iter().map(|row| row.ready).collect();
        let available: Vec<i32> = rows.iter().map(|row| row.available).collect();
        let updated: Vec<i32> = rows.iter().map(|row| row.updated).collect();
        let settled: Vec<bool> = rows.iter().map(|row| row.settled).collect();
        let zones: Vec<Option<serde_json::Value>> = rows.iter().map(|row| row.zones.as_ref().map(zones_json)).collect();
        // An array of arrays must be rectangular, so each list is passed as JSON.
        let drift: Vec<serde_json::Value> =
            rows.iter().map(|row| row.drift.iter().map(|field| clean::text(field)).collect()).collect();
        let stale: Vec<bool> = rows.iter().map(|row| row.stale).collect();
        let found: Vec<i64> = rows.iter().map(|row| i64::from(row.found_epoch)).collect();
        let changed: Vec<Ts> = rows.iter().map(|row| row.changed_at.to_sqlx()).collect();
        point("status_set", Side::Before);
        // One statement is one transaction. It checks and holds the claims, as every other write does. It locks them
        // in the order in which they are renewed.
        let held = sqlx::query_scalar!(
            r#"
            WITH claim AS MATERIALIZED (
              SELECT c.number FROM unnest($17::text[], $18::bigint[]) WITH ORDINALITY AS c (name, epoch, number)
              JOIN lease l ON l.name = c.name AND l.epoch = c.epoch AND l.expires_at > now()
              ORDER BY l.name FOR KEY SHARE OF l
            ), written AS (
            INSERT INTO placement_status (placement, state, message, applied_epoch, applied_hash, applied_revision, fields_hash,
              object_uid, observed_epoch, replicas, ready, available, updated, settled, drift, changed_at, stale, found_epoch, zones)
            SELECT n.placement, n.state, n.message, n.applied_epoch, n.applied_hash, n.applied_revision, n.fields_hash,
              n.object_uid, n.observed_epoch, n.replicas, n.ready, n.available, n.updated, n.settled,
              ARRAY(SELECT jsonb_array_elements_text(n.drift)), n.changed_at, n.stale, n.found_epoch, n.zones
            FROM claim JOIN unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::bytea[], $6::bytea[], $7::bytea[], $8::text[],
                        $9::bigint[], $10::int[], $11::int[], $12::int[], $13::int[], $14::bool[], $15::jsonb[], $16::timestamptz[], $19::bigint[],
                        $20::bool[], $21::bigint[], $22::jsonb[])
              AS n (placement, state, message, applied_epoch, applied_hash, applied_revision, fields_hash, object_uid,
                    observed_epoch, replicas, ready, available, updated, settled, drift, changed_at, claim, stale, found_epoch,
                    zones)
              ON n.claim = claim.number
            JOIN placement p ON p.id = n.placement
            -- Nobody forgets a placement between this look and the end of the statement. Whoever forgets many locks them in
            -- this order too.
            ORDER BY p.id FOR KEY SHARE OF p
            ON CONFLICT (placement) DO UPDATE SET state = excluded.state, message = excluded.message,
              applied_epoch = excluded.applied_epoch, applied_hash = excluded.applied_hash,
              applied_revision = excluded.applied_revision, fields_hash = excluded.fields_hash,
              object_uid = excluded.object_uid, observed_epoch = excluded.observed_epoch, replicas = excluded.replicas,
              ready = excluded.ready, available = excluded.available, updated = excluded.updated, settled = excluded.settled,
              drift = excluded.drift, changed_at = excluded.changed_at, stale = excluded.stale,
              found_epoch = excluded.found_epoch, zones = excluded.zones
            ) SELECT number AS "number!" FROM claim"#,
            &placements as _,
            &states as _,
            &messages as _,
            &applied_epochs,
            &applied_hashes as _,
            &revisions as _,
            &fields as _,
            &uids as _,
            &observed,
            &replicas,
            &ready,
            &available,
            &updated,
            &settled,
            &drift,
            &changed as _,
            &leases as _,
            &epochs,
            &numbers,
            &stale,
            &found,
            &zones as _,
        )
        .fetch_all(&self.pool)
        .await
        .map_err(StoreError::of_commit("status_set"))?;
        point("status_set", Side::After);
        Ok(claims.iter().filter(|claim| !held.contains(&number(claim))).map(|claim| (*claim).clone()).collect())
    }
}
