//! `drain`: moves all divided replicas out of a cluster, a zone or a cell, and keeps others away.
//!
//! | step | act | effect |
//! |---|---|---|
//! | `cordon` | puts one directive | no replicas come |
//! | `move` | puts a directive for one Application after the other | its replicas move: raised elsewhere first |
//! | `hold` | puts one directive for all Applications, and ends those of the single ones | none comes back |
//! | `empty` | waits | no divided replica is there |
//!
//! The directives stay after the drain: `revert` ends them, and the place takes replicas again. What moved away stays where
//! it is; `meridian rebalance` brings replicas back.

mod act;
mod plan;
mod spec;

use domain::operation::{Plan, Priority};
use flow::{ActError, Attempt, Kind, PlanFailure, Planned, Progress};
use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::Value;
use store::{Hint, Hints, Store};

/// Name of the kind.
pub const DRAIN: &str = "drain";

/// The kind `drain`.
#[derive(Debug)]
pub struct Drain {
    store: Store,
    hints: Hints,
}

impl Drain {
    /// Returns the kind.
    pub const fn new(store: Store, hints: Hints) -> Self {
        Self { store, hints }
    }
}

impl Kind for Drain {
    fn name(&self) -> &'static str {
        DRAIN
    }

    fn priority(&self) -> Priority {
        Priority::Drain
    }

    fn plan<'a>(&'a self, spec: &'a Value) -> BoxFuture<'a, Result<Planned, PlanFailure>> {
        plan::plan(&self.store, spec).boxed()
    }

    fn act<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Result<(), ActError>> {
        act::act(&self.store, &self.hints, attempt).boxed()
    }

    fn observe<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Result<Progress, ActError>> {
        act::observe(&self.store, attempt).boxed()
    }

    fn is_woken_by(&self, hint: &Hint, _plan: &Plan) -> bool {
        matches!(
            hint,
            Hint::Observed(_)
                | Hint::Show(_)
                | Hint::Directives(_)
                | Hint::Topology
                | Hint::Health(_)
                | Hint::Everything
        )
    }
}
