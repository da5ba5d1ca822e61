//! Decisions: written whole or not at all.

use serde_json::Value;
use vocabulary::ObjectKey;

use crate::{AppId, Claim, PlacementId, Store, StoreError, Wish};

/// Decisions kept for each application.
const KEPT: i64 = 100;

/// An object that is to exist from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacementInsert {
    /// Component.
    pub component: String,
    /// Cell.
    pub cell: String,
    /// Cluster.
    pub cluster: String,
    /// Identity in the member.
    pub object: ObjectKey,
    /// Order of delivery.
    pub rank: i16,
    /// It takes a share of the application's replicas.
    pub divided: bool,
    /// Replicas.
    pub target: i32,
    /// Revision.
    pub revision: Vec<u8>,
}

/// New values of a placement. Writing them raises its plan epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacementChange {
    /// Placement.
    pub id: PlacementId,
    /// Replicas decided.
    pub target: i32,
    /// Replicas that may not be gone below yet.
    pub floor: i32,
    /// Replicas on top.
    pub surge: i32,
    /// Revision.
    pub revision: Vec<u8>,
    /// What is to become of it.
    pub wish: Wish,
}

/// What an application holds in one zone of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReservationRow {
    /// Cluster.
    pub cluster: String,
    /// Zone.
    pub zone: String,
    /// CPU in thousandths of a core.
    pub cpu_milli: i64,
    /// Memory in MiB.
    pub memory_mi: i64,
    /// Pods.
    pub pods: i64,
}

/// What is to be written for one application.
#[derive(Debug, Clone)]
pub struct DecisionRow {
    /// Application.
    pub app: AppId,
    /// A new decision: hash of its inputs, what is kept for people, one sentence, targets by cell.
    pub decided: Option<(Vec<u8>, Value, String, Value)>,
    /// Generation the placement is brought up to by this; nothing when it was already.
    pub generation: Option<i64>,
    /// Rebalance plan that this decision carried out.
    pub rebalance_done: Option<Vec<u8>>,
    /// Objects to add.
    pub inserts: Vec<PlacementInsert>,
    /// Objects to change.
    pub changes: Vec<PlacementChange>,
    /// Objects that are gone, to be forgotten.
    pub forget: Vec<PlacementId>,
    /// Deletes among the changes that count for the mass-delete guard: cluster and number of objects.
    pub deletes: Vec<(String, i32)>,
    /// What the application holds from now on; untouched when left out.
    pub reservations: Option<Vec<ReservationRow>>,
}

impl Store {
    /// Writes decisions of several applications in one transaction, clusters locked in the order of their names.
    /// Returns, by cluster, the placements that were added, changed or forgotten.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when an object to add has an owner already; nothing is written then.
    pub async fn decision_commit(
        &self,
        claim: &Claim,
        decisions: &[DecisionRow],
    ) -> Result<Vec<(String, PlacementId)>, StoreError> {
        let mut write = self.write(claim, "decision_commit").await?;
        let mut touched = Vec::new();
        touched.extend(insert(&mut write, decisions).await?);
        touched.extend(change(&mut write, decisions).await?);
        touched.extend(forget(&mut write, decisions).await?);
        reserve(&mut write, decisions).await?;
        crate::delete_window::count(&mut write, decisions).await?;
        log(&mut write, decisions).await?;
        write.commit().await?;
        Ok(touched)
    }

    /// What all applications hold, by cluster and zone. A sum beyond `bigint` is the largest `bigint`: what one application
    /// holds cannot keep the others from being read.
    pub async fn reservation_sums(&self) -> Result<Vec<ReservationRow>, StoreError> {
        let rows = sqlx::query!(
            r#"
            SELECT cluster, zone,
              least(greatest(sum(cpu_milli), 0), 9223372036854775807)::bigint AS "cpu_milli!",
              least(greatest(sum(memory_mi), 0), 9223372036854775807)::bigint AS "memory_mi!",
              least(greatest(sum(pods), 0), 9223372036854775807)::bigint AS "pods!"
            FROM reservation GROUP BY cluster, zone ORDER BY cluster, zone"#
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| ReservationRow {
                cluster: row.cluster,
                zone: row.zone,
                cpu_milli: row.cpu_milli,
                memory_mi: row.memory_mi,
                pods: row.pods,
            })
            .collect())
    }

    /// What some applications hold.
    pub async fn reservation_list(&self, apps: &[AppId]) -> Result<Vec<(AppId, ReservationRow)>, StoreError> {
        let rows = sqlx::query!(
            "SELECT app, cluster, zone, cpu_milli, memory_mi, pods FROM reservation WHERE app = ANY($1) ORDER BY app, cluster, zone",
            apps
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| {
                (
                    row.app,
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

pub(crate) type Txn<'a> = sqlx::Transaction<'a, sqlx::Postgres>;

async fn insert(
    transaction: &mut Txn<'_>,
    decisions: &[DecisionRow],
) -> Result<Vec<(String, PlacementId)>, StoreError> {
    let rows: Vec<(AppId, &PlacementInsert)> =
        decisions.iter().flat_map(|decision| decision.inserts.iter().map(|insert| (decision.app, insert))).collect();
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let apps: Vec<i64> = rows.iter().map(|(app, _)| *app).collect();
    let text = |field: fn(&PlacementInsert) -> &str| -> Vec<&str> { rows.iter().map(|(_, row)| field(row)).collect() };
    let ranks: Vec<i16> = rows.iter().map(|(_, row)| row.rank).collect();
    let divided: Vec<bool> = rows.iter().map(|(_, row)| row.divided).collect();
    let targets: Vec<i32> = rows.iter().map(|(_, row)| row.target).collect();
    let revisions: Vec<&[u8]> = rows.iter().map(|(_, row)| row.revision.as_slice()).collect();
    let added = sqlx::query!(
        r#"
        INSERT INTO placement (app, component, cell, cluster, api_version, kind, namespace, object_name, rank, divided,
          target, floor, plan_epoch, revision, wish)
        SELECT app, component, cell, cluster, api_version, kind, namespace, object_name, rank, divided, target, 0, 1, revision, 'Present'
        FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
                    $9::smallint[], $10::bool[], $11::int[], $12::bytea[])
          AS n (app, component, cell, cluster, api_version, kind, namespace, object_name, rank, divided, target, revision)
        RETURNING cluster, id"#,
        &apps,
        &text(|row| &row.component) as _,
        &text(|row| &row.cell) as _,
        &text(|row| &row.cluster) as _,
        &text(|row| &row.object.api_version) as _,
        &text(|row| &row.object.kind) as _,
        &text(|row| &row.object.namespace) as _,
        &text(|row| &row.object.name) as _,
        &ranks,
        &divided,
        &targets,
        &revisions as _,
    )
    .fetch_all(&mut **transaction)
    .await?;
    Ok(added.into_iter().map(|row| (row.cluster, row.id)).collect())
}

async fn change(
    transaction: &mut Txn<'_>,
    decisions: &[DecisionRow],
) -> Result<Vec<(String, PlacementId)>, StoreError> {
    let rows: Vec<&PlacementChange> = decisions.iter().flat_map(|decision| &decision.changes).collect();
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
    let targets: Vec<i32> = rows.iter().map(|row| row.target).collect();
    let floors: Vec<i32> = rows.iter().map(|row| row.floor).collect();
    let surges: Vec<i32> = rows.iter().map(|row| row.surge).collect();
    let revisions: Vec<&[u8]> = rows.iter().map(|row| row.revision.as_slice()).collect();
    let wishes: Vec<&str> = rows.iter().map(|row| row.wish.as_str()).collect();
    let changed = sqlx::query!(
        r#"
        UPDATE placement p SET target = n.target, floor = n.floor, surge = n.surge, revision = n.revision, wish = n.wish,
          plan_epoch = p.plan_epoch + 1
        FROM unnest($1::bigint[], $2::int[], $3::int[], $4::int[], $5::bytea[], $6::text[])
          AS n (id, target, floor, surge, revision, wish)
        WHERE p.id = n.id
        RETURNING p.cluster, p.id"#,
        &ids,
        &targets,
        &floors,
        &surges,
        &revisions as _,
        &wishes as _,
    )
    .fetch_all(&mut **transaction)
    .await?;
    Ok(changed.into_iter().map(|row| (row.cluster, row.id)).collect())
}

async fn forget(
    transaction: &mut Txn<'_>,
    decisions: &[DecisionRow],
) -> Result<Vec<(String, PlacementId)>, StoreError> {
    let ids: Vec<i64> = decisions.iter().flat_map(|decision| decision.forget.iter().copied()).collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    // Locked in the order in which status is written.
    let gone = sqlx::query!(
        r#"
        WITH gone AS MATERIALIZED (SELECT id FROM placement WHERE id = ANY($1) ORDER BY id FOR UPDATE)
        DELETE FROM placement p USING gone WHERE p.id = gone.id RETURNING p.cluster, p.id"#,
        &ids
    )
    .fetch_all(&mut **transaction)
    .await?;
    Ok(gone.into_iter().map(|row| (row.cluster, row.id)).collect())
}

async fn reserve(transaction: &mut Txn<'_>, decisions: &[DecisionRow]) -> Result<(), StoreError> {
    let apps: Vec<i64> =
        decisions.iter().filter(|decision| decision.reservations.is_some()).map(|decision| decision.app).collect();
    if apps.is_empty() {
        return Ok(());
    }
    let rows: Vec<(AppId, &ReservationRow)> = decisions
        .iter()
        .flat_map(|decision| decision.reservations.iter().flatten().map(|row| (decision.app, row)))
        .collect();
    // Whoever decides over the same clusters waits here, in one order for all.
    let mut clusters: Vec<&str> = rows.iter().map(|(_, row)| row.cluster.as_str()).collect();
    clusters.sort_unstable();
    clusters.dedup();
    let owners: Vec<i64> = rows.iter().map(|(app, _)| *app).collect();
    let names: Vec<&str> = rows.iter().map(|(_, row)| row.cluster.as_str()).collect();
    let zones: Vec<&str> = rows.iter().map(|(_, row)| row.zone.as_str()).collect();
    let cpu: Vec<i64> = rows.iter().map(|(_, row)| row.cpu_milli).collect();
    let memory: Vec<i64> = rows.iter().map(|(_, row)| row.memory_mi).collect();
    let pods: Vec<i64> = rows.iter().map(|(_, row)| row.pods).collect();
    sqlx::query!(
        r#"
        WITH locked AS MATERIALIZED (
          SELECT name FROM cluster WHERE name = ANY($1) ORDER BY name FOR NO KEY UPDATE
        ), n AS (
          SELECT * FROM unnest($3::bigint[], $4::text[], $5::text[], $6::bigint[], $7::bigint[], $8::bigint[])
            AS n (app, cluster, zone, cpu_milli, memory_mi, pods)
          WHERE (SELECT count(*) FROM locked) >= 0
        ), gone AS (
          DELETE FROM reservation r
          WHERE r.app = ANY($2) AND (SELECT count(*) FROM locked) >= 0
            AND NOT EXISTS (SELECT 1 FROM n WHERE n.app = r.app AND n.cluster = r.cluster AND n.zone = r.zone)
        )
        INSERT INTO reservation AS r (app, cluster, zone, cpu_milli, memory_mi, pods) SELECT * FROM n
        ON CONFLICT (app, cluster, zone) DO UPDATE
        SET cpu_milli = excluded.cpu_milli, memory_mi = excluded.memory_mi, pods = excluded.pods
        WHERE (r.cpu_milli, r.memory_mi, r.pods) IS DISTINCT FROM (excluded.cpu_milli, excluded.memory_mi, excluded.pods)"#,
        &clusters as _,
        &apps,
        &owners,
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

async fn log(transaction: &mut Txn<'_>, decisions: &[DecisionRow]) -> Result<(), StoreError> {
    // Those with a decision have their generation written along with it.
    let only = decisions.iter().filter(|decision| decision.decided.is_none());
    let (apps, generations): (Vec<i64>, Vec<i64>) =
        only.filter_map(|decision| Some((decision.app, decision.generation?))).unzip();
    if !apps.is_empty() {
        sqlx::query!(
            r#"
            UPDATE application a SET decided_generation = n.generation
            FROM unnest($1::bigint[], $2::bigint[]) AS n (app, generation) WHERE a.id = n.app"#,
            &apps,
            &generations,
        )
        .execute(&mut **transaction)
        .await?;
    }
    for decision in decisions {
        if let Some(plan) = &decision.rebalance_done {
            sqlx::query!("UPDATE application SET rebalance_done = $2 WHERE id = $1", decision.app, plan)
                .execute(&mut **transaction)
                .await?;
        }
    }
    let decided: Vec<_> =
        decisions.iter().filter_map(|decision| Some((decision.app, decision.decided.as_ref()?))).collect();
    let generations: Vec<Option<i64>> =
        decisions.iter().filter(|decision| decision.decided.is_some()).map(|decision| decision.generation).collect();
    if decided.is_empty() {
        return Ok(());
    }
    let apps: Vec<i64> = decided.iter().map(|(app, _)| *app).collect();
    let hashes: Vec<&[u8]> = decided.iter().map(|(_, row)| row.0.as_slice()).collect();
    let kept: Vec<Value> = decided.iter().map(|(_, row)| row.1.clone()).collect();
    let summaries: Vec<&str> = decided.iter().map(|(_, row)| row.2.as_str()).collect();
    let targets: Vec<Value> = decided.iter().map(|(_, row)| row.3.clone()).collect();
    sqlx::query!(
        r#"
        WITH n AS (
          SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::jsonb[], $4::bigint[], $5::text[], $6::jsonb[])
            AS n (app, hash, decision, generation, summary, targets)
        ), kept AS (
          UPDATE application a SET input_hash = n.hash, decision = n.decision, decided_at = now(),
            decided_generation = coalesce(n.generation, a.decided_generation)
          FROM n WHERE a.id = n.app
        ), added AS (
          INSERT INTO decision_log (app, input_hash, summary, targets)
          SELECT app, hash, summary, targets FROM n RETURNING app
        )
        DELETE FROM decision_log d USING added a
        WHERE d.app = a.app AND d.seq <= (SELECT k.seq FROM decision_log k WHERE k.app = a.app ORDER BY k.seq DESC OFFSET $7 LIMIT 1)"#,
        &apps,
        &hashes as _,
        &kept,
        &generations as _,
        &summaries as _,
        &targets,
        // The one being added is not seen by its own statement.
        KEPT - 1,
    )
    .execute(&mut **transaction)
    .await?;
    Ok(())
}
