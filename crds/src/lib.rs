//! All Kubernetes kinds of Meridian, and the optional admission policy of the hub for them.
//!
//! A kind is a folder, and a version of the kind is a file. Lists, maps and strings are bounded. The API server rejects
//! a CRD whose validation rules could cost too much, and estimates the cost from these bounds.

#![allow(missing_docs, unreachable_pub, reason = "kube-derive generates such items next to each kind")]

pub mod admission;
pub mod application;
pub mod cell;
pub mod cluster;
pub mod condition;
pub mod manifest;
pub mod placement_policy;
pub mod selector;

pub use application::v1alpha1::{Application, ApplicationSpec, ApplicationStatus};
pub use cell::v1alpha1::{Cell, CellSpec, CellStatus};
pub use cluster::v1alpha1::{Cluster, ClusterSpec, ClusterStatus};
pub use placement_policy::v1alpha1::{PlacementPolicy, PlacementSpec};

/// API group of the kinds that exist as CRDs on the hub.
pub const GROUP: &str = "fleet.meridian.io";
