//! One file per version of the kind, and one for each part that versions share.

pub mod release;
pub mod v1alpha1;
