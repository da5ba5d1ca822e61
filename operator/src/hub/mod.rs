//! Access to the hub API, which holds intent and shows status.
//!
//! Once intent is taken in, the process does not depend on the hub.

mod history;
mod objects;
mod pod_security;
mod record;
mod sweep;
mod view;
mod write;

pub(crate) use history::goes_on;
pub(crate) use objects::{Objects, follow, follow_selected};
pub(crate) use pod_security::PodSecurity;
pub(crate) use record::publish_installation;
pub(crate) use sweep::is_swept;
pub(crate) use view::HubView;
pub(crate) use write::{HubError, drop_finalizer, ensure_finalizer, read_as_json, read_identity, write_status};
