//! Real control planes, Postgres and faults, without containers.
//!
//! A [`Bed`] is a hub, its members and a Postgres. All of them are ordinary processes on 127.0.0.1 that end with the
//! bed. The programs kube-apiserver, kube-controller-manager, kube-scheduler and etcd are the real ones; kwok simulates
//! nodes.

mod audit;
mod bed;
mod gateway;
mod kwokctl;
mod link;
mod pki;
mod plane;
mod postgres;
mod process;
mod store;
mod tools;
mod wait;

pub use audit::{AuditEvent, AuditLog};
pub use bed::{Bed, BedBuilder, MemberSpec};
pub use gateway::{Gateway, GatewayMode};
pub use kwokctl::KwokCluster;
pub use link::{Link, LinkMode};
pub use plane::{Plane, PlaneProcess};
pub use postgres::Postgres;
pub use process::{Process, free_ports};
pub use store::{EtcdStore, Revisions, Snapshot};
pub use tools::{postgres_tools, tools};
pub use wait::eventually;
