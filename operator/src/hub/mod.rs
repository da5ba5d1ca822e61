//! The hub API: a window onto intent and status, and nothing the process depends on once intent is taken in.

mod history;
mod objects;
mod record;
mod sweep;
mod write;

pub(crate) use history::goes_on;
pub(crate) use objects::{Objects, follow, follow_selected};
pub(crate) use record::publish_installation;
pub(crate) use sweep::is_swept;
pub(crate) use write::{HubError, drop_finalizer, ensure_finalizer, read_as_json, read_identity, write_status};
