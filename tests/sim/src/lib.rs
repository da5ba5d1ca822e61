//! Simulated member API servers: many in one process, each below a path of its own behind one TLS and HTTP/2 listener.
//!
//! They speak as much of the API as delivery uses: discovery, rules review, lists with pages, watches with bookmarks and
//! 410, get, delete with preconditions, merge patches and server-side apply. What they are **not**: there is one
//! field manager, lists are replaced as a whole, there is no admission and no scheduler. Deployments become available by
//! themselves and bring their pods along. Figures measured against them are labelled *simulated*.

mod answers;
mod apply;
mod collection;
mod member;
mod serve;
mod watch;
mod workload;

pub use member::{Applied, Member, Refusal};
pub use serve::{Config, Simulation, member_name};
