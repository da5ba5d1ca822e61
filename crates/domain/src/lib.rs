//! Pure decisions: no clock, no randomness, no client. Time and seeds are arguments.

pub mod confirmation;
pub mod decision_record;
pub mod failover;
pub mod intent;
pub mod mask;
pub mod motion;
pub mod operation;
pub mod placement;
pub mod placement_gap;
pub mod release;
pub mod render;
pub mod stored_revision;
pub mod stored_topology;
pub mod tenancy;
pub mod topology;
