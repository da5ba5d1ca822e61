//! Writes a batch of decisions in one transaction and notifies the later stages.

use std::collections::{BTreeMap, BTreeSet};

use store::{AppId, Decided, DecisionRow, Hint, StoreError};
use vocabulary::ContentHash;

use crate::Schedule;
use crate::guard::GuardedPlan;
use crate::names::{assign_names, candidates};

/// Outcome of a batch that was written.
#[derive(Debug)]
pub(crate) struct Applied {
    /// Applications to decide again at once.
    pub(crate) again: BTreeSet<AppId>,
    /// Clusters whose reservation sums have a new version.
    pub(crate) booked: Vec<String>,
    /// Every plan of the batch was written, so the snapshot holds the reservations that are stored.
    pub(crate) is_whole: bool,
}

/// Names the new objects, writes the plans, and sends hints about the changes.
pub(crate) async fn apply(
    schedule: &Schedule,
    mut plans: Vec<GuardedPlan>,
    bookings: &BTreeMap<String, i64>,
) -> Result<Applied, StoreError> {
    let mut applied = Applied { again: BTreeSet::new(), booked: Vec::new(), is_whole: true };
    let names = candidates(&plans);
    let owners = if names.is_empty() { Vec::new() } else { schedule.store.placement_owners(&names).await? };
    assign_names(&mut plans, owners);
    let rows: Vec<DecisionRow> = plans.iter().filter(|plan| !plan.plan().is_empty()).map(decision_row).collect();
    schedule.metrics.unchanged.inc_by((plans.len() - rows.len()) as u64);
    if !rows.is_empty() {
        let committed = schedule.store.decision_commit(&schedule.claim, &rows, bookings).await?;
        schedule.metrics.decided.inc_by((rows.len() - committed.outdated.len()) as u64);
        schedule.metrics.outdated.inc_by(committed.outdated.len() as u64);
        notify(schedule, &rows, committed.touched);
        applied.is_whole = committed.outdated.is_empty();
        applied.booked = committed.booked;
        // An application that changed meanwhile is decided again from its current rows.
        applied.again.extend(&committed.outdated);
        plans.retain(|plan| !committed.outdated.contains(&plan.plan().app));
        // A removed row may have held up other rows, and the removal of its application may be complete now.
        let forgot = plans.iter().map(GuardedPlan::plan).filter(|plan| !plan.forget.is_empty());
        applied.again.extend(forgot.map(|plan| plan.app));
    }
    remember_ready(schedule, &plans).await?;
    for plan in plans.iter().map(GuardedPlan::plan) {
        if plan.over && schedule.store.application_forget(&schedule.claim, plan.app).await? {
            tracing::info!(application = %plan.key, "application is gone");
            schedule.known_ready().remove(&plan.app);
            schedule.hints.send(Hint::Forgotten { namespace: plan.key.namespace.clone(), name: plan.key.name.clone() });
        }
        if !plan.forget.is_empty() {
            schedule.hints.send(Hint::Vacated);
        }
    }
    Ok(applied)
}

/// Notifies deliverers of changed placements, and the status stage of decided applications.
fn notify(schedule: &Schedule, rows: &[DecisionRow], touched: Vec<(String, store::PlacementId)>) {
    let mut by_cluster: BTreeMap<String, Vec<store::PlacementId>> = BTreeMap::new();
    for (cluster, placement) in touched {
        by_cluster.entry(cluster).or_default().push(placement);
    }
    if !by_cluster.is_empty() {
        schedule.hints.send(Hint::Deliver(by_cluster));
    }
    for row in rows {
        schedule.hints.send(Hint::Show(row.app));
    }
}

/// Stores which revisions were fully ready once. Revisions that this process stored before are skipped.
async fn remember_ready(schedule: &Schedule, plans: &[GuardedPlan]) -> Result<(), StoreError> {
    let ready: Vec<(AppId, ContentHash)> = {
        let known = schedule.known_ready();
        let news = |app: AppId, revision: ContentHash| known.get(&app) != Some(&revision);
        plans
            .iter()
            .map(GuardedPlan::plan)
            .filter_map(|plan| Some((plan.app, plan.ready?)))
            .filter(|(app, revision)| news(*app, *revision))
            .collect()
    };
    if ready.is_empty() {
        return Ok(());
    }
    schedule.store.revisions_were_ready(&schedule.claim, &ready).await?;
    schedule.known_ready().extend(ready);
    Ok(())
}

pub(crate) fn decision_row(guarded: &GuardedPlan) -> DecisionRow {
    let plan = guarded.plan();
    let decided = plan.record.as_ref().map(|(hash, record)| {
        let targets: BTreeMap<&str, i32> = record
            .decision
            .cells
            .iter()
            .filter(|cell| cell.target > 0)
            .map(|cell| (cell.cell.as_str(), cell.target))
            .collect();
        Decided {
            input_hash: *hash,
            record: serde_json::to_value(record).expect("a record is plain data"),
            summary: record.decision.summary.clone(),
            targets: serde_json::to_value(targets).expect("a map of names to numbers is JSON"),
        }
    });
    DecisionRow {
        app: plan.app,
        base: plan.base,
        decided,
        cells: plan.cells.clone(),
        generation: plan.generation,
        rebalance_done: plan.rebalance_done,
        inserts: plan.inserts.iter().map(|insert| insert.row.clone()).collect(),
        changes: plan.changes.clone(),
        forget: plan.forget.clone(),
        deletes: guarded.deletes().to_vec(),
        reservations: plan.reservations.clone(),
    }
}
