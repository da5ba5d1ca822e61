//! Predicates of placement rows. Pure.

use store::{DesiredState, ObjectState, PlacementRow, StatusRow};
use vocabulary::Verdict;

/// Returns `Pass` when the member runs the row as planned, and `Fail` otherwise.
///
/// The row must be applied and observed at its plan epoch, applied with its revision, and settled. A divided row must
/// also have as many available replicas as it renders.
pub fn settled_verdict(row: &PlacementRow, status: &StatusRow) -> Verdict {
    let is_applied = status.state == ObjectState::Applied
        && status.applied_epoch == row.plan_epoch
        && status.observed_epoch == row.plan_epoch
        && status.applied_revision == Some(row.revision);
    let there = status.settled && (!row.divided || status.available >= row.rendered());
    if is_applied && there { Verdict::Pass } else { Verdict::Fail }
}

/// Returns whether a row counts as placed.
pub(crate) fn is_present(row: &PlacementRow) -> bool {
    row.desired_state == DesiredState::Present
}
