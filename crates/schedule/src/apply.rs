//! Writes a batch of decisions in one transaction and tells the stages after it.

use std::collections::{BTreeMap, BTreeSet};

use crds::application::v1alpha1::ObjectStatus;
use store::{AppId, DecisionRow, Hint, OwnerRow, StoreError};
use vocabulary::ObjectKey;

use crate::Schedule;
use crate::plan::{AppPlan, Insert, Place};

/// Object with the version left out: versions of one kind are the same objects.
type Slot = (String, String, String, String, String);

fn slot((cluster, object): &Place) -> Slot {
    (cluster.clone(), object.group().to_owned(), object.kind.clone(), object.namespace.clone(), object.name.clone())
}

/// Writes the plans. Returns applications that are to be looked at again at once.
pub(crate) async fn apply(
    schedule: &Schedule,
    mut plans: Vec<AppPlan>,
    deletes: Vec<Vec<(String, i32)>>,
) -> Result<BTreeSet<AppId>, StoreError> {
    let mut again = BTreeSet::new();
    give_names(schedule, &mut plans).await?;
    let rows: Vec<DecisionRow> = plans
        .iter()
        .zip(deletes)
        .filter(|(plan, _)| !plan.is_empty())
        .map(|(plan, deletes)| decision_row(plan, deletes))
        .collect();
    schedule.metrics.unchanged.inc_by((plans.len() - rows.len()) as u64);
    if !rows.is_empty() {
        let touched = schedule.store.decision_commit(&schedule.claim, &rows).await?;
        schedule.metrics.decided.inc_by(rows.len() as u64);
        let mut by_cluster: BTreeMap<String, Vec<i64>> = BTreeMap::new();
        for (cluster, placement) in touched {
            by_cluster.entry(cluster).or_default().push(placement);
        }
        if !by_cluster.is_empty() {
            schedule.hints.send(Hint::Deliver(by_cluster));
        }
        for row in &rows {
            schedule.hints.send(Hint::Show(row.app));
            // A row that was forgotten may be wanted again, and a removal may be over now.
            if !row.forget.is_empty() {
                again.insert(row.app);
            }
        }
    }
    remember_ready(schedule, &plans).await?;
    for plan in &plans {
        if plan.over && schedule.store.application_forget(&schedule.claim, plan.app).await? {
            tracing::info!(application = %plan.key, "application is gone");
            schedule.known_ready().remove(&plan.app);
            schedule.hints.send(Hint::Forgotten { namespace: plan.key.namespace.clone(), name: plan.key.name.clone() });
        }
        if !plan.forget.is_empty() {
            schedule.hints.send(Hint::Vacated);
        }
    }
    Ok(again)
}

/// Remembers which revisions were fully ready once; what this process wrote already is not written again.
async fn remember_ready(schedule: &Schedule, plans: &[AppPlan]) -> Result<(), StoreError> {
    let ready: Vec<(AppId, Vec<u8>)> = {
        let known = schedule.known_ready();
        let news = |app: AppId, revision: &Vec<u8>| known.get(&app) != Some(revision);
        plans
            .iter()
            .filter_map(|plan| Some((plan.app, plan.ready.clone()?)))
            .filter(|(app, revision)| news(*app, revision))
            .collect()
    };
    if ready.is_empty() {
        return Ok(());
    }
    schedule.store.revisions_were_ready(&schedule.claim, &ready).await?;
    schedule.known_ready().extend(ready);
    Ok(())
}

fn decision_row(plan: &AppPlan, deletes: Vec<(String, i32)>) -> DecisionRow {
    let decided = plan.record.as_ref().map(|(hash, record)| {
        let targets: BTreeMap<&str, i32> = record
            .decision
            .cells
            .iter()
            .filter(|cell| cell.target > 0)
            .map(|cell| (cell.cell.as_str(), cell.target))
            .collect();
        (
            hash.as_bytes().to_vec(),
            serde_json::to_value(record).expect("a record is plain data"),
            record.decision.summary.clone(),
            serde_json::to_value(targets).expect("a map of names to numbers is JSON"),
        )
    });
    DecisionRow {
        app: plan.app,
        decided,
        generation: plan.generation,
        rebalance_done: plan.rebalance_done.clone(),
        inserts: plan.inserts.iter().map(|insert| insert.row.clone()).collect(),
        changes: plan.changes.clone(),
        forget: plan.forget.clone(),
        deletes,
        reservations: plan.reservations.clone(),
    }
}

/// Gives each new object a name nobody has. An object whose name a person chose and that has another owner gets no row;
/// its problem goes into the record.
async fn give_names(schedule: &Schedule, plans: &mut [AppPlan]) -> Result<(), StoreError> {
    let candidates: Vec<Place> = plans
        .iter()
        .flat_map(|plan| &plan.inserts)
        .flat_map(|insert| insert.names.iter().map(|name| place(insert, name)))
        .collect();
    let owners = if candidates.is_empty() { Vec::new() } else { schedule.store.placement_owners(&candidates).await? };
    let mut taken: BTreeMap<Slot, String> =
        owners.into_iter().map(|owner| (slot(&place_of(&owner)), owner.app_name)).collect();
    for plan in plans.iter_mut() {
        let mut problems = Vec::new();
        let mut kept = Vec::new();
        for mut insert in std::mem::take(&mut plan.inserts) {
            let free = insert.names.iter().find(|name| !taken.contains_key(&slot(&place(&insert, name)))).cloned();
            if let Some(name) = free {
                insert.row.object.name = name;
                taken.insert(slot(&(insert.row.cluster.clone(), insert.row.object.clone())), plan.key.name.clone());
                kept.push(insert);
                continue;
            }
            let owner =
                taken.get(&slot(&(insert.row.cluster.clone(), insert.row.object.clone()))).cloned().unwrap_or_default();
            if owner == plan.key.name {
                // Its own leaving row still has the name; it comes back when that is gone.
                continue;
            }
            problems.push(refused(&insert, &owner));
        }
        plan.inserts = kept;
        record_problems(plan, problems);
    }
    Ok(())
}

fn record_problems(plan: &mut AppPlan, problems: Vec<ObjectStatus>) {
    let (_, record) = plan.record.as_ref().unwrap_or(&plan.standing);
    if record.problems == problems {
        return;
    }
    let (_, record) = plan.record.get_or_insert_with(|| plan.standing.clone());
    record.problems = problems;
}

fn place(insert: &Insert, name: &str) -> Place {
    (insert.row.cluster.clone(), ObjectKey { name: name.to_owned(), ..insert.row.object.clone() })
}

fn place_of(owner: &OwnerRow) -> Place {
    (owner.cluster.clone(), owner.object.clone())
}

fn refused(insert: &Insert, owner: &str) -> ObjectStatus {
    let object = &insert.row.object;
    ObjectStatus {
        cluster: insert.row.cluster.clone(),
        component: insert.row.component.clone(),
        kind: object.kind.clone(),
        name: object.name.clone(),
        state: "Refused".to_owned(),
        message: format!(
            "{} {} in cluster {} belongs to Application {owner}; give component {} another metadata.name",
            object.kind, object.name, insert.row.cluster, insert.row.component
        ),
    }
}
