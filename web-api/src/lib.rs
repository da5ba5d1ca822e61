//! The REST API of Meridian.
//!
//! Order of a request: `trail` gives it an id, a deadline and its row of the audit; `caller` finds the subject of its
//! token and its turn at the database; a handler checks the rights, and reads or changes. [`serve`] accepts
//! connections.

mod answer;
mod api;
mod applications;
mod audit;
mod body;
mod caller;
mod code;
mod failure;
mod fleet;
mod hub;
mod limits;
mod locks;
mod metrics;
mod operations;
mod page;
mod problems;
mod releases;
mod revisions;
mod router;
mod serve;
mod trail;
mod wakes;
mod whoami;

pub use api::{Api, ApiParts, ApiState};
pub use code::{CODES, Code, CodeText};
pub use limits::LimitSettings;
pub use router::router;
pub use serve::{Tls, serve};
