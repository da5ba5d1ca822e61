//! The only crate that opens sockets to member clusters.
//!
//! - [`Member`] is a cheap handle on one cluster: apply, delete, watch, discover, renew credentials.
//! - [`Registry`] maps cluster names to members. The program that uses this crate fills it.
//! - [`install`] installs Meridian's namespace, roles and fence policy in a member with the joining user's own
//!   credentials.
//! - [`admin`] reads those credentials from a kubeconfig.
//!
//! This crate has no store and takes no decisions. Callers pass rows and receive the member API server's answer.

mod access;
pub mod admin;
mod api_kind;
mod config;
mod discovery;
mod error;
pub mod install;
mod managers;
mod member;
mod registry;
mod transport;
mod watch;
mod write;

pub use access::{IssuedToken, KindAccess};
pub use api_kind::ApiKind;
pub use config::{Limits, MemberConfig};
pub use discovery::{ServedKind, served_kinds};
pub use error::{ConfigPart, MemberError};
pub use managers::client_side_fields;
pub use member::{Identity, Member, ServerVersion};
pub use registry::{Registry, Unusable};
pub use transport::BreakerState;
pub use watch::{Deleted, Selection, WatchEvent};
pub use write::{ApplyOptions, Preconditions};
