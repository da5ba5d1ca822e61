//! One file per version of the kind.

pub mod v1alpha1;
