//! Mass-delete guard: withholds deletes above a limit until a person confirms exactly those. Pure.

use crds::application::v1alpha1::PendingDeletes;
use domain::decision_record::WaitCause;
use store::{DeleteWindow, DesiredState, PlacementChange, PlacementId};

use crate::app_plan::AppPlan;
use crate::deletes::Deletes;

/// A plan that passed the guard. Only such plans are written.
#[derive(Debug)]
pub(crate) struct GuardedPlan {
    plan: AppPlan,
    /// Number of deletes that the plan makes, by cluster.
    deletes: Vec<(String, i32)>,
}

impl GuardedPlan {
    pub(crate) fn plan(&self) -> &AppPlan {
        &self.plan
    }

    /// Returns the plan for the naming of new objects, which deletes nothing.
    pub(crate) fn plan_mut(&mut self) -> &mut AppPlan {
        &mut self.plan
    }

    /// Returns the number of deletes that the plan makes, by cluster.
    pub(crate) fn deletes(&self) -> &[(String, i32)] {
        &self.deletes
    }
}

/// Withholds the deletes of plans that exceed a limit of the guard.
///
/// Plans are checked in order, and each check counts the deletes of the plans before it.
pub(crate) fn withhold_mass_deletes(plans: Vec<AppPlan>, mut window: DeleteWindow) -> Vec<GuardedPlan> {
    let mut guard = |plan: &mut AppPlan| {
        let deletes = std::mem::take(&mut plan.deletes);
        if deletes.is_confirmed() {
            // A person confirmed these deletes, so other plans need not wait because of them.
            record(plan, None, None);
            return Vec::new();
        }
        let (_, last_decision) = plan.record.as_ref().unwrap_or(&plan.last_decision);
        let cause = if deletes.removing { WaitCause::Removal } else { WaitCause::Edit };
        // What waited because of an edit is judged anew when the application is removed.
        let waiting = last_decision.pending.as_ref().filter(|_| last_decision.waits_by == Some(cause));
        if let Some(excess) = deletes.reason_to_wait(plan.app, waiting, &window) {
            keep(plan, &deletes);
            let pending = deletes.after(&plan.changes).pending(excess.reason);
            record(plan, Some(pending), excess.is_own.then_some(cause));
            return Vec::new();
        }
        record(plan, None, None);
        let counts = deletes.per_cluster();
        for (cluster, count) in &counts {
            *window.of_cluster.entry(cluster.clone()).or_default() += count;
            *window.present.entry(cluster.clone()).or_default() -= count;
        }
        *window.of_app.entry(plan.app).or_default() += deletes.going.len() as i64;
        counts.into_iter().map(|(cluster, count)| (cluster, count as i32)).collect()
    };
    let guarded = |mut plan: AppPlan| GuardedPlan { deletes: guard(&mut plan), plan };
    plans.into_iter().map(guarded).collect()
}

/// Changes withheld deletes back to `Present`.
///
/// A divided workload that left its cell still lowers its replicas, which `domain::motion` decides. Only the delete of
/// the empty object waits. When the application itself is being removed, its waiting rows do not change at all.
fn keep(plan: &mut AppPlan, deletes: &Deletes) {
    let row_of = |id: PlacementId| deletes.going.iter().find(|row| row.id == id);
    plan.changes.retain_mut(|change| {
        let Some(row) = row_of(change.id) else { return true };
        change.desired_state = DesiredState::Present;
        row.divided && !deletes.removing && *change != PlacementChange::of(row)
    });
}

fn record(plan: &mut AppPlan, pending: Option<PendingDeletes>, waits_by: Option<WaitCause>) {
    let (_, last_decision) = plan.record.as_ref().unwrap_or(&plan.last_decision);
    if last_decision.pending != pending || last_decision.waits_by != waits_by {
        let (_, record) = plan.record.get_or_insert_with(|| plan.last_decision.clone());
        record.pending = pending;
        record.waits_by = waits_by;
    }
}
