//! Kinds of operations. A kind is one folder that declares its steps, their effect classes and how they are taken back.
//!
//! No kind writes placement: each puts directives and waits for what the stages make of them.

mod directives;
mod drain;
mod fleet;
mod release;
mod release_starter;

use std::sync::Arc;

use flow::{Kind, Kinds};
use store::{Hints, Store};

pub use drain::{DRAIN, Drain};
pub use release::{RELEASE, Release, release_request, subject_of as release_subject};
pub use release_starter::{Looked, ReleaseStarter, StarterError};

/// Returns all kinds. A new kind is added here.
pub fn kinds(store: &Store, hints: &Hints) -> Kinds {
    let drain: Arc<dyn Kind> = Arc::new(Drain::new(store.clone(), hints.clone()));
    let release: Arc<dyn Kind> = Arc::new(Release::new(store.clone(), hints.clone()));
    Kinds::new([drain, release])
}
