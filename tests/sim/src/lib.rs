//! Simulates member API servers: many in one process, behind one TLS and HTTP/2 listener.
//!
//! Each member has a path of its own below the listener. The members serve the part of the API that delivery uses:
//!
//! - discovery and rules review,
//! - lists with pages, watches with bookmarks and 410,
//! - get, delete with preconditions, merge patches and server-side apply.
//!
//! Limits: there is one field manager, an apply replaces a list as a whole, and there is no admission and no scheduler.
//! Deployments become available without controllers, together with their pods. Figures measured against these members
//! are labelled *simulated*.

mod answers;
mod apply;
mod collection;
mod member;
mod serve;
mod watch;
mod workload;

pub use member::{Applied, Member, Refusal};
pub use serve::{Config, Simulation, member_name};
