//! Decides a batch as a function from stored rows to the rows to write. Pure.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use store::{DecisionRow, DeleteWindow, FailoverBreakerRow, OwnerRow, StoreError};
use vocabulary::ObjectKey;

use crate::apply::decision_row;
use crate::fleet_snapshot::{FleetRows, FleetSnapshot};
use crate::gather::{AppRows, AppSnapshot, Gathered};
use crate::guard::{GuardedPlan, withhold_mass_deletes};
use crate::names::{assign_names, candidates};
use crate::plan::plan_batch;
use crate::snapshot_cache::CachedSnapshot;

/// Writes that a batch of decisions makes.
#[derive(Debug)]
pub struct Decisions {
    /// Changes by application; an application without changes has no row.
    pub rows: Vec<DecisionRow>,
    /// Versions of the reservation sums from which the rows were made, by cluster.
    pub bookings: BTreeMap<String, i64>,
    /// New state of the failover breaker, where it changed.
    pub breaker: Option<FailoverBreakerRow>,
    /// Applications being removed of which nothing is left.
    pub over: Vec<store::AppId>,
    /// Applications whose wanted revision is ready everywhere.
    pub ready: Vec<store::AppId>,
}

/// Decides a batch. `owners` returns the owners of the objects it is given.
///
/// This is the work of [`crate::Schedule`] between reading and writing, without either.
///
/// # Errors
/// [`StoreError::Corrupt`] when the rows of an application cannot be read.
pub fn decide(
    fleet: FleetRows,
    apps: Vec<AppRows>,
    owners: impl FnOnce(&[(String, ObjectKey)]) -> Vec<OwnerRow>,
    window: DeleteWindow,
    now: Timestamp,
    stale_after: SignedDuration,
) -> Result<Decisions, StoreError> {
    let (snapshot, breaker) = FleetSnapshot::of(fleet, now, stale_after);
    let bookings = snapshot.booking_versions.clone();
    let apps = apps.into_iter().map(AppSnapshot::of).collect::<Result<Vec<_>, _>>()?;
    let (plans, _) = plan_batch(Gathered { snapshot: CachedSnapshot::now(snapshot), apps });
    let mut plans = withhold_mass_deletes(plans, window);
    let wanted = candidates(&plans);
    assign_names(&mut plans, owners(&wanted));
    let over = plans.iter().map(GuardedPlan::plan).filter(|plan| plan.over).map(|plan| plan.app).collect();
    let ready = plans.iter().map(GuardedPlan::plan).filter(|plan| plan.ready.is_some()).map(|plan| plan.app).collect();
    let rows = plans.iter().filter(|plan| !plan.plan().is_empty()).map(decision_row).collect();
    Ok(Decisions { rows, bookings, breaker, over, ready })
}
