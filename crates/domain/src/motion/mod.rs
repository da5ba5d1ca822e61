//! Reaches decided numbers safely: raises before lowering, and rolls out a new revision cell by cell.
//!
//! A row's rendered replicas are `max(target, floor)`. A decision sets targets. A floor above its target keeps
//! replicas in place until their successors are available elsewhere.
//!
//! This module never removes the last healthy replica. Stale observations, and observations of an earlier plan, count
//! as no available replicas.

mod deletes;
mod floors;
mod revisions;

pub use deletes::{app_limit, cluster_limit};
pub use floors::{FloorChange, RowFacts, floors_after_decision, lower_floors};
pub use revisions::{CellRollout, Rollout, advance};
