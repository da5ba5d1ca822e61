//! Pure decisions: no clock, no randomness, no client. Time and seeds are arguments.

pub mod decision_record;
pub mod health;
pub mod intent;
pub mod motion;
pub mod placement;
pub mod render;
pub mod stored_revision;
pub mod stored_topology;
pub mod tenancy;
pub mod topology;
