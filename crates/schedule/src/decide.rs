//! A batch of decisions as a function of what is stored: rows in, rows to write out. Pure.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use store::{DecisionRow, DeleteWindow, FailoverBreakerRow, OwnerRow, StoreError};
use vocabulary::ObjectKey;

use crate::apply::decision_row;
use crate::gather::{AppFacts, AppRows, Gathered};
use crate::guard;
use crate::kept_world::Read;
use crate::names::{assign_names, candidates};
use crate::plan::plan_batch;
use crate::world::{FleetRows, World};

/// What is to be written for a batch.
#[derive(Debug)]
pub struct Decisions {
    /// What changes, by application. Applications that stay as they are have none.
    pub rows: Vec<DecisionRow>,
    /// Versions of the sums of reservations that the rows were made from.
    pub bookings: BTreeMap<String, i64>,
    /// The failover breaker, where it turned.
    pub breaker: Option<FailoverBreakerRow>,
    /// Applications of which nothing is left.
    pub over: Vec<store::AppId>,
    /// Applications whose wanted revision is ready everywhere.
    pub ready: Vec<store::AppId>,
}

/// Decides a batch. `owners` answers who owns which of some objects.
///
/// This is what [`crate::Schedule`] does between reading and writing, without either.
///
/// # Errors
/// [`StoreError::Corrupt`] when a row cannot be read.
pub fn decide(
    fleet: FleetRows,
    apps: Vec<AppRows>,
    owners: impl FnOnce(&[(String, ObjectKey)]) -> Vec<OwnerRow>,
    window: DeleteWindow,
    now: Timestamp,
    stale_after: SignedDuration,
) -> Result<Decisions, StoreError> {
    let (world, breaker) = World::of(fleet, now, stale_after);
    let bookings = world.booking_versions.clone();
    let apps = apps.into_iter().map(AppFacts::of).collect::<Result<Vec<_>, _>>()?;
    let (mut plans, _) = plan_batch(Gathered { world: Read::now(world), apps });
    let deletes = guard::hold(&mut plans, window);
    let wanted = candidates(&plans);
    assign_names(&mut plans, owners(&wanted));
    let over = plans.iter().filter(|plan| plan.over).map(|plan| plan.app).collect();
    let ready = plans.iter().filter(|plan| plan.ready.is_some()).map(|plan| plan.app).collect();
    let changed = plans.iter().zip(deletes).filter(|(plan, _)| !plan.is_empty());
    let rows = changed.map(|(plan, deletes)| decision_row(plan, deletes)).collect();
    Ok(Decisions { rows, bookings, breaker, over, ready })
}
