//! Status of members and of their objects: health, bounds on size, and the writer to the database.

pub(crate) mod bounded;
pub(crate) mod health_tracker;
pub(crate) mod status_writer;
