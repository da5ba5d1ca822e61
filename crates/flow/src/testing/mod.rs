//! Runs operations of any kind under faults, with a real database.
//!
//! [`Harness`] counts the commits and acts of an operation, and then lets its owner die, freeze or fail at each of them.
//! [`Process`] is one process with an engine. [`kinds`] has kinds for tests.

mod check;
mod fault;
mod harness;
pub mod kinds;
mod process;

use std::collections::BTreeMap;
use std::fmt::Debug;

use futures::future::BoxFuture;
use runtime::crash::Side;
use uuid::Uuid;

pub use harness::{Harness, Setup, Summary};
pub use process::{LEASE, Process};

/// What a kind changes, as seen from outside.
pub trait World: Debug + Send + Sync {
    /// Returns how often the effect of each idempotency key took place.
    fn effects(&self) -> BTreeMap<Uuid, usize>;

    /// Returns whether everything is as the operation is to leave it.
    fn is_goal(&self) -> bool;
}

/// Place around each commit of an owner.
pub trait CommitHook: Debug + Send + Sync {
    /// Called just before a commit is sent, and just after its answer.
    fn reached(&self, side: Side) -> BoxFuture<'_, ()>;
}
