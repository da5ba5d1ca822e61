//! `release`: brings the wanted revision of an Application to its cells, in batches that are watched.
//!
//! | step | act | effect |
//! |---|---|---|
//! | `beta` | asks cells for gray replicas | one replica of each cell runs the revision |
//! | `batch-N` | asks cells for gray replicas, or whole cells for the revision | a cumulative share runs the revision |
//! | `promote` | asks cells for the main slot | the main slots run the revision |
//! | `return` | asks cells for an empty gray slot | the gray slots are empty |
//! | `finish` | asks cells that came meanwhile, then ends all directives | all cells hold the revision |
//! | `restore` (revert) | asks all cells for the previous revision | it is decided for all cells |
//! | `settle` (revert) | waits | the previous revision runs, as far as the cells answer |
//! | `conclude` (revert) | ends all directives | the release is stored as rolled back |
//!
//! Steps with `-second` are for second halves of pairs. Without a gray slot, a batch asks whole cells for the revision.
//!
//! Each act asks for what follows from the rows at that moment: the replicas may have been scaled since the plan was made.
//! The first act opens the release (table `application_release`), and `finish` or `conclude` ends it in one transaction
//! with the directives.

mod act;
mod arrival;
mod plan;
mod preview;
mod ready_clock;
mod spec;
mod steps;
mod view;

use domain::operation::{Plan, Priority};
use flow::{ActError, Attempt, Kind, PlanFailure, Planned, Progress};
use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use store::{Hint, Hints, Store};
use vocabulary::{AppKey, ContentHash};

use act::Actor;
use ready_clock::ReadyClock;

pub(crate) use plan::release_identity;
pub use spec::subject_of;

/// Name of the kind.
pub const RELEASE: &str = "release";

/// The kind `release`.
#[derive(Debug)]
pub struct Release {
    store: Store,
    hints: Hints,
    clock: ReadyClock,
}

impl Release {
    /// Returns the kind.
    pub fn new(store: Store, hints: Hints) -> Self {
        Self { store, hints, clock: ReadyClock::default() }
    }

    const fn actor<'a>(&'a self, attempt: &'a Attempt) -> Actor<'a> {
        Actor { store: &self.store, hints: &self.hints, clock: &self.clock, attempt }
    }
}

/// Returns the request of a release of one revision.
pub fn release_request(app: &AppKey, revision: ContentHash) -> Value {
    json!({"application": app.to_string(), "revision": revision.to_string()})
}

impl Kind for Release {
    fn name(&self) -> &'static str {
        RELEASE
    }

    fn priority(&self) -> Priority {
        Priority::Release
    }

    fn plan<'a>(&'a self, spec: &'a Value) -> BoxFuture<'a, Result<Planned, PlanFailure>> {
        plan::plan(&self.store, spec).boxed()
    }

    fn act<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Result<(), ActError>> {
        async { self.actor(attempt).act().await }.boxed()
    }

    fn observe<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Result<Progress, ActError>> {
        async { self.actor(attempt).observe().await }.boxed()
    }

    fn is_woken_by(&self, hint: &Hint, plan: &Plan) -> bool {
        match hint {
            // Many releases may be open, and each Application has hints of its own.
            Hint::Observed(app) | Hint::Show(app) | Hint::Directives(Some(app)) => {
                plan::application_of(plan).is_none_or(|own| own == *app)
            }
            Hint::Directives(None) | Hint::Topology | Hint::Health(_) | Hint::Everything => true,
            // The others are about deliveries, connections and stages that no step looks at.
            _ => false,
        }
    }
}
