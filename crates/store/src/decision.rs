//! Decisions: a compare-and-swap per application, written as a whole or not at all.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::decision_row::{Committed, Decided, DecisionBase, DecisionRow, Txn};
use crate::stored_hash::optional_bytes;
use crate::{AppId, Claim, Removal, Store, StoreError, cell_decision, placement_write, reservation};

/// Maximum number of decisions kept in the log of each application.
const KEPT: i64 = 100;

impl Store {
    /// Writes decisions of several applications in one transaction.
    ///
    /// Lock order: applications by id, placements by id, clusters by name. `bookings` contains the versions of the
    /// reservation sums that the decisions were made from.
    ///
    /// # Errors
    /// Nothing is written on error. [`StoreError::Stale`] when reservations or placements changed meanwhile.
    /// [`StoreError::Refused`] when an object to add already has an owner.
    pub async fn decision_commit(
        &self,
        claim: &Claim,
        decisions: &[DecisionRow],
        bookings: &BTreeMap<String, i64>,
    ) -> Result<Committed, StoreError> {
        let mut write = self.write(claim, "decision_commit").await?;
        let current = lock(&mut write, decisions).await?;
        let (valid, outdated): (Vec<&DecisionRow>, Vec<&DecisionRow>) =
            decisions.iter().partition(|decision| current.get(&decision.app) == Some(&decision.base));
        let mut touched = placement_write::forget(&mut write, &valid).await?;
        touched.extend(placement_write::change(&mut write, &valid).await?);
        touched.extend(placement_write::insert(&mut write, &valid).await?);
        cell_decision::replace(&mut write, &valid).await?;
        let booked = reservation::book(&mut write, &valid, bookings).await?;
        crate::delete_window::count(&mut write, &valid).await?;
        raise_versions(&mut write, &valid).await?;
        keep(&mut write, &valid).await?;
        write.commit().await?;
        Ok(Committed { touched, outdated: outdated.iter().map(|decision| decision.app).collect(), booked })
    }
}

/// Locks the applications and returns their present state.
async fn lock(transaction: &mut Txn, decisions: &[DecisionRow]) -> Result<BTreeMap<AppId, DecisionBase>, StoreError> {
    let apps: Vec<AppId> = decisions.iter().map(|decision| decision.app).collect();
    let rows = sqlx::query!(
        r#"
        SELECT id, generation, removal, decision_version FROM application
        WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE"#,
        &apps as _
    )
    .fetch_all(&mut **transaction)
    .await?;
    rows.into_iter()
        .map(|row| {
            let removal = Removal::parse(row.removal)?;
            Ok((AppId(row.id), DecisionBase { generation: row.generation, removal, version: row.decision_version }))
        })
        .collect()
}

/// Raises the decision version of applications without a new record.
///
/// `keep` raises the version of applications with a new record.
async fn raise_versions(transaction: &mut Txn, decisions: &[&DecisionRow]) -> Result<(), StoreError> {
    let plain: Vec<&&DecisionRow> = decisions.iter().filter(|decision| decision.decided.is_none()).collect();
    if plain.is_empty() {
        return Ok(());
    }
    let apps: Vec<AppId> = plain.iter().map(|decision| decision.app).collect();
    let generations: Vec<Option<i64>> = plain.iter().map(|decision| decision.generation).collect();
    let rebalanced: Vec<Option<&[u8]>> =
        plain.iter().map(|decision| optional_bytes(decision.rebalance_done.as_ref())).collect();
    sqlx::query!(
        r#"
        UPDATE application a SET decision_version = a.decision_version + 1,
          decided_generation = coalesce(n.generation, a.decided_generation),
          rebalance_done = coalesce(n.rebalanced, a.rebalance_done)
        FROM unnest($1::bigint[], $2::bigint[], $3::bytea[]) AS n (app, generation, rebalanced) WHERE a.id = n.app"#,
        &apps as _,
        &generations as _,
        &rebalanced as _,
    )
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// Stores the records of new decisions, and keeps the last `KEPT` of each application in its log.
async fn keep(transaction: &mut Txn, decisions: &[&DecisionRow]) -> Result<(), StoreError> {
    let decided: Vec<(&DecisionRow, &Decided)> =
        decisions.iter().filter_map(|decision| Some((*decision, decision.decided.as_ref()?))).collect();
    if decided.is_empty() {
        return Ok(());
    }
    let apps: Vec<AppId> = decided.iter().map(|(row, _)| row.app).collect();
    let generations: Vec<Option<i64>> = decided.iter().map(|(row, _)| row.generation).collect();
    let rebalanced: Vec<Option<&[u8]>> =
        decided.iter().map(|(row, _)| optional_bytes(row.rebalance_done.as_ref())).collect();
    let hashes: Vec<&[u8]> = decided.iter().map(|(_, decided)| decided.input_hash.as_bytes()).collect();
    let records: Vec<Value> = decided.iter().map(|(_, decided)| decided.record.clone()).collect();
    let summaries: Vec<&str> = decided.iter().map(|(_, decided)| decided.summary.as_str()).collect();
    let targets: Vec<Value> = decided.iter().map(|(_, decided)| decided.targets.clone()).collect();
    sqlx::query!(
        r#"
        WITH n AS (
          SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::jsonb[], $4::bigint[], $5::bytea[], $6::text[], $7::jsonb[])
            AS n (app, hash, decision, generation, rebalanced, summary, targets)
        ), kept AS (
          UPDATE application a SET decision_version = a.decision_version + 1, input_hash = n.hash, decision = n.decision,
            decided_at = now(), decided_generation = coalesce(n.generation, a.decided_generation),
            rebalance_done = coalesce(n.rebalanced, a.rebalance_done)
          FROM n WHERE a.id = n.app
        ), added AS (
          INSERT INTO decision_log (app, input_hash, summary, targets)
          SELECT app, hash, summary, targets FROM n RETURNING app
        )
        DELETE FROM decision_log d USING added a
        WHERE d.app = a.app AND d.seq <= (SELECT k.seq FROM decision_log k WHERE k.app = a.app ORDER BY k.seq DESC OFFSET $8 LIMIT 1)"#,
        &apps as _,
        &hashes as _,
        &records,
        &generations as _,
        &rebalanced as _,
        &summaries as _,
        &targets,
        // The `DELETE` does not see the row that this statement adds.
        KEPT - 1,
    )
    .execute(&mut **transaction)
    .await?;
    Ok(())
}
