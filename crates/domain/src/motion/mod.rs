//! How decided numbers are reached: raise before lower, and a new revision cell by cell.
//!
//! A row's rendered replicas are `max(target, floor)`. A decision sets targets; a floor above its target holds
//! replicas in place until their successors are available elsewhere. Nothing here removes what is the last
//! healthy copy: facts that are stale, or that speak of an earlier plan, count as nothing.

mod deletes;
mod floors;
mod revisions;

pub use deletes::{app_limit, cluster_limit};
pub use floors::{FloorChange, RowFacts, floors_after_decision, lower_floors};
pub use revisions::{CellRollout, Rollout, advance};
