//! Vocabulary of all crates: names, labels, epochs, the fence, verdicts, hashes, and error texts.
//!
//! This crate does no I/O and depends on no other crate of the workspace.

mod causes;
mod fence;
mod hash;
mod inputs;
pub mod labels;
mod messages;
mod names;
mod namespaces;
mod operation_id;
mod replicas;
mod verdict;
mod zone_spread;

pub use causes::chain;
pub use fence::{Fence, FenceError};
pub use hash::{ContentHash, ContentHashError, hash_json};
pub use inputs::{CellInputs, PlaceInputs};
pub use messages::{Trouble, cause, group_causes, shorten};
pub use names::{AppKey, CellName, ClusterName, NameError, ObjectKey, suffixed_name};
pub use namespaces::{PROTECTED_NAMESPACE_PREFIXES, is_protected_namespace};
pub use operation_id::OperationId;
pub use replicas::rendered_replicas;
pub use verdict::Verdict;
pub use zone_spread::ZoneSpread;

/// Server-side apply field manager of everything Meridian writes to a member cluster.
pub const FIELD_MANAGER: &str = "meridian";

/// Namespace of Meridian's own objects, on the hub and in every member.
pub const SYSTEM_NAMESPACE: &str = "meridian-system";

/// `ConfigMap` in which the operator publishes the installation's identity.
///
/// It is in [`SYSTEM_NAMESPACE`] of the hub.
pub const HUB_RECORD: &str = "meridian-hub";

/// User name of Meridian's runtime identity, as the API server of a member sees it.
pub const MEMBER_IDENTITY: &str = "system:serviceaccount:meridian-system:meridian";

/// Name of the service account behind [`MEMBER_IDENTITY`].
pub const MEMBER_SERVICE_ACCOUNT: &str = "meridian";
