//! The words every crate shares: names, labels, epochs, the fence, verdicts, hashes, and errors with their causes.
//!
//! Nothing here does I/O and nothing here depends on another crate of ours.

mod causes;
mod fence;
mod hash;
mod inputs;
pub mod labels;
mod messages;
mod names;
mod namespaces;
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
pub use replicas::rendered_replicas;
pub use verdict::Verdict;
pub use zone_spread::ZoneSpread;

/// The server-side apply field manager of everything Meridian writes to a member cluster.
pub const FIELD_MANAGER: &str = "meridian";

/// The namespace, on the hub and in every member, that holds what belongs to Meridian itself.
pub const SYSTEM_NAMESPACE: &str = "meridian-system";

/// The config map in [`SYSTEM_NAMESPACE`] of the hub in which the operator publishes the installation's identity.
pub const HUB_RECORD: &str = "meridian-hub";

/// The user name a member's API server sees when Meridian's runtime identity calls it.
pub const MEMBER_IDENTITY: &str = "system:serviceaccount:meridian-system:meridian";

/// The name of the service account behind [`MEMBER_IDENTITY`].
pub const MEMBER_SERVICE_ACCOUNT: &str = "meridian";
