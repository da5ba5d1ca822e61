//! Reservations: capacity that decisions assign to applications, whether their pods run or not.

use std::collections::BTreeMap;

use crate::decision_row::{DecisionRow, Txn};
use crate::{AppId, Store, StoreError};

/// Capacity that an application reserves in one zone of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReservationRow {
    /// Name of the cluster.
    pub cluster: String,
    /// Name of the zone.
    pub zone: String,
    /// Reserved CPU, in thousandths of a core.
    pub cpu_milli: i64,
    /// Reserved memory, in MiB.
    pub memory_mi: i64,
    /// Number of reserved pods.
    pub pods: i64,
}

/// Reservations of all applications together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bookings {
    /// Sums of reservations by cluster and zone.
    pub sums: Vec<ReservationRow>,
    /// Version of each cluster's sums, which rises with every change of a reservation there.
    pub versions: BTreeMap<String, i64>,
}

impl Store {
    /// Returns sums over all applications and the versions of these sums, read by one statement.
    pub async fn reservation_sums(&self) -> Result<Bookings, StoreError> {
        // Sums are clamped: one absurd amount must not make all decisions fail.
        let rows = sqlx::query!(
            r#"
            WITH sums AS MATERIALIZED (
              -- Reservations are read once, whatever plan the join gets.
              SELECT cluster, zone, sum(cpu_milli) AS cpu_milli, sum(memory_mi) AS memory_mi, sum(pods) AS pods
              FROM reservation GROUP BY cluster, zone
            )
            SELECT c.name, c.booking_version, s.zone AS "zone?",
              least(greatest(s.cpu_milli, 0), 9223372036854775807)::bigint AS "cpu_milli?",
              least(greatest(s.memory_mi, 0), 9223372036854775807)::bigint AS "memory_mi?",
              least(greatest(s.pods, 0), 9223372036854775807)::bigint AS "pods?"
            FROM cluster c LEFT JOIN sums s ON s.cluster = c.name ORDER BY c.name, s.zone"#
        )
        .fetch_all(&self.pool)
        .await?;
        let mut bookings = Bookings::default();
        for row in rows {
            if let Some(zone) = row.zone {
                bookings.sums.push(ReservationRow {
                    cluster: row.name.clone(),
                    zone,
                    cpu_milli: row.cpu_milli.unwrap_or(0),
                    memory_mi: row.memory_mi.unwrap_or(0),
                    pods: row.pods.unwrap_or(0),
                });
            }
            bookings.versions.insert(row.name, row.booking_version);
        }
        Ok(bookings)
    }

    /// Returns reservations of the given applications.
    pub async fn reservation_list(&self, apps: &[AppId]) -> Result<Vec<(AppId, ReservationRow)>, StoreError> {
        let rows = sqlx::query!(
            "SELECT app, cluster, zone, cpu_milli, memory_mi, pods FROM reservation WHERE app = ANY($1) ORDER BY app, cluster, zone",
            apps as _
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| {
                (
                    AppId(row.app),
                    ReservationRow {
                        cluster: row.cluster,
                        zone: row.zone,
                        cpu_milli: row.cpu_milli,
                        memory_mi: row.memory_mi,
                        pods: row.pods,
                    },
                )
            })
            .collect())
    }
}

/// Writes changed reservations, and returns the clusters in which they changed.
///
/// Locks these clusters in the order of their names. Compares the versions of their sums with those that the
/// decisions were made from, and raises them.
///
/// # Errors
/// [`StoreError::Stale`] when another decision changed a reservation there meanwhile.
pub(crate) async fn book(
    transaction: &mut Txn,
    decisions: &[&DecisionRow],
    expected: &BTreeMap<String, i64>,
) -> Result<Vec<String>, StoreError> {
    let apps: Vec<AppId> =
        decisions.iter().filter(|decision| decision.reservations.is_some()).map(|decision| decision.app).collect();
    if apps.is_empty() {
        return Ok(Vec::new());
    }
    let before = sqlx::query_scalar!("SELECT DISTINCT cluster FROM reservation WHERE app = ANY($1)", &apps as _)
        .fetch_all(&mut **transaction)
        .await?;
    let after = decisions.iter().flat_map(|decision| decision.reservations.iter().flatten());
    let mut clusters: Vec<String> = before.into_iter().chain(after.map(|row| row.cluster.clone())).collect();
    clusters.sort_unstable();
    clusters.dedup();
    let versions: Vec<i64> = clusters.iter().map(|name| expected.get(name).copied().unwrap_or(-1)).collect();
    let booked = sqlx::query!(
        r#"
        WITH locked AS MATERIALIZED (
          SELECT c.name, c.booking_version FROM cluster c WHERE c.name = ANY($1) ORDER BY c.name FOR NO KEY UPDATE
        )
        UPDATE cluster c SET booking_version = c.booking_version + 1
        FROM locked l, unnest($1::text[], $2::bigint[]) AS n (name, version)
        WHERE c.name = l.name AND n.name = c.name AND n.version = c.booking_version"#,
        &clusters,
        &versions,
    )
    .execute(&mut **transaction)
    .await?
    .rows_affected();
    if booked != clusters.len() as u64 {
        return Err(StoreError::Stale { what: "reservations" });
    }
    write(transaction, decisions, &apps).await?;
    Ok(clusters)
}

async fn write(transaction: &mut Txn, decisions: &[&DecisionRow], apps: &[AppId]) -> Result<(), StoreError> {
    let rows: Vec<(AppId, &ReservationRow)> = decisions
        .iter()
        .flat_map(|decision| decision.reservations.iter().flatten().map(|row| (decision.app, row)))
        .collect();
    let owners: Vec<AppId> = rows.iter().map(|(app, _)| *app).collect();
    let names: Vec<&str> = rows.iter().map(|(_, row)| row.cluster.as_str()).collect();
    let zones: Vec<&str> = rows.iter().map(|(_, row)| row.zone.as_str()).collect();
    let cpu: Vec<i64> = rows.iter().map(|(_, row)| row.cpu_milli).collect();
    let memory: Vec<i64> = rows.iter().map(|(_, row)| row.memory_mi).collect();
    let pods: Vec<i64> = rows.iter().map(|(_, row)| row.pods).collect();
    sqlx::query!(
        r#"
        WITH n AS (
          SELECT * FROM unnest($2::bigint[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[])
            AS n (app, cluster, zone, cpu_milli, memory_mi, pods)
        ), gone AS (
          -- Zones in which the application holds nothing any more.
          DELETE FROM reservation r WHERE r.app = ANY($1)
            AND NOT EXISTS (SELECT 1 FROM n WHERE n.app = r.app AND n.cluster = r.cluster AND n.zone = r.zone)
        )
        INSERT INTO reservation AS r (app, cluster, zone, cpu_milli, memory_mi, pods) SELECT * FROM n
        ON CONFLICT (app, cluster, zone) DO UPDATE
        SET cpu_milli = excluded.cpu_milli, memory_mi = excluded.memory_mi, pods = excluded.pods
        WHERE (r.cpu_milli, r.memory_mi, r.pods) IS DISTINCT FROM (excluded.cpu_milli, excluded.memory_mi, excluded.pods)"#,
        apps as _,
        &owners as _,
        &names as _,
        &zones as _,
        &cpu,
        &memory,
        &pods,
    )
    .execute(&mut **transaction)
    .await?;
    Ok(())
}
