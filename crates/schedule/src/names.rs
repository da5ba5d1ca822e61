//! Gives each new object a name that no other object has. Pure.

use std::collections::{BTreeMap, HashSet};

use crds::application::v1alpha1::ObjectStatus;
use store::{OwnerRow, PlacementId};
use vocabulary::ObjectKey;

use crate::app_plan::{AppPlan, Insert};
use crate::guard::GuardedPlan;

/// Maximum number of problems that the record of one application names.
const PROBLEMS_MAX: usize = 64;

/// A cluster and the key of an object in it.
pub(crate) type Place = (String, ObjectKey);

/// Cluster, group, kind, namespace and name of an object.
///
/// The version is left out, because all versions of a kind are the same objects.
type Identity = (String, String, String, String, String);

fn identity((cluster, object): &Place) -> Identity {
    (cluster.clone(), object.group().to_owned(), object.kind.clone(), object.namespace.clone(), object.name.clone())
}

/// Returns every name that the new objects of a batch may take.
pub(crate) fn candidates(plans: &[GuardedPlan]) -> Vec<Place> {
    plans
        .iter()
        .flat_map(|plan| &plan.plan().inserts)
        .flat_map(|insert| insert.names.iter().map(|name| place(insert, name)))
        .collect()
}

/// Names the new objects, given the owners of the candidates.
///
/// An object without a free name gets no row. The record reports the problem until a decision finds a name free.
pub(crate) fn assign_names(plans: &mut [GuardedPlan], owners: Vec<OwnerRow>) {
    // The transaction deletes rows before it inserts rows, so names of deleted rows are free.
    let forgotten: HashSet<PlacementId> = plans.iter().flat_map(|plan| plan.plan().forget.iter().copied()).collect();
    let mut taken: BTreeMap<Identity, String> = owners
        .into_iter()
        .filter(|owner| !forgotten.contains(&owner.placement))
        .map(|owner| (identity(&(owner.cluster, owner.object)), owner.app_name))
        .collect();
    for plan in plans.iter_mut().map(GuardedPlan::plan_mut) {
        let mut problems = Vec::new();
        let mut kept = Vec::new();
        for mut insert in std::mem::take(&mut plan.inserts) {
            let free = insert.names.iter().find(|name| !taken.contains_key(&identity(&place(&insert, name)))).cloned();
            if let Some(name) = free {
                insert.row.object.name = name;
                taken.insert(identity(&(insert.row.cluster.clone(), insert.row.object.clone())), plan.key.name.clone());
                kept.push(insert);
                continue;
            }
            let owner = taken.get(&identity(&(insert.row.cluster.clone(), insert.row.object.clone())));
            problems.push(refused(&insert, owner.map_or("", String::as_str)));
        }
        plan.inserts = kept;
        record_problems(plan, problems);
    }
}

fn record_problems(plan: &mut AppPlan, mut problems: Vec<ObjectStatus>) {
    problems.truncate(PROBLEMS_MAX);
    let (_, record) = plan.record.as_ref().unwrap_or(&plan.last_decision);
    if record.problems == problems {
        return;
    }
    let (_, record) = plan.record.get_or_insert_with(|| plan.last_decision.clone());
    record.problems = problems;
}

fn place(insert: &Insert, name: &str) -> Place {
    (insert.row.cluster.clone(), ObjectKey { name: name.to_owned(), ..insert.row.object.clone() })
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
