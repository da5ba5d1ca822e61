//! What is stored of a member and of the objects in it.

pub(crate) mod bounded;
pub(crate) mod health_tracker;
pub(crate) mod status_writer;
