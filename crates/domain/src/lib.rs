//! Pure decisions: no clock, no randomness, no client. Time and seeds are arguments.

pub mod motion;
pub mod placement;
pub mod render;
pub mod topology;
