//! A release under every fault of its owner.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use domain::operation::Priority;
use flow::testing::{Harness, Setup, World};
use flow::{ActError, Attempt, Kind, PlanFailure, Planned, Progress};
use futures::FutureExt;
use futures::future::BoxFuture;
use operations::{Release, release_request};
use serde_json::{Value, json};
use store::Store;
use testbed::Bed;
use uuid::Uuid;

use crate::stage::{Stage, cell, key, new, old, own_hints};

/// The kind, with a count of its acts.
struct Counted {
    kind: Release,
    acts: Mutex<BTreeMap<Uuid, usize>>,
    bed: Arc<Bed>,
}

impl std::fmt::Debug for Counted {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Counted").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl Kind for Counted {
    fn name(&self) -> &'static str {
        self.kind.name()
    }

    fn priority(&self) -> Priority {
        self.kind.priority()
    }

    fn plan<'a>(&'a self, spec: &'a Value) -> BoxFuture<'a, Result<Planned, PlanFailure>> {
        self.kind.plan(spec)
    }

    fn act<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Result<(), ActError>> {
        async move {
            self.kind.act(attempt).await?;
            *self.acts.lock().unwrap_or_else(PoisonError::into_inner).entry(attempt.key).or_default() += 1;
            Ok(())
        }
        .boxed()
    }

    fn observe<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Result<Progress, ActError>> {
        self.kind.observe(attempt)
    }
}

impl World for Counted {
    fn effects(&self) -> BTreeMap<Uuid, usize> {
        self.acts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn is_goal(&self) -> bool {
        let query = format!(
            "SELECT (SELECT count(*) FROM placement_directive), (SELECT count(*) FROM cell_decision WHERE slot = 'main' \
             AND revision = decode('{}', 'hex')), (SELECT count(*) FROM cell_decision), (SELECT state FROM application_release)",
            new()
        );
        self.bed.postgres.query(&query).unwrap().trim() == "0|2|2|Released"
    }
}

/// Brings the Application back to the old revision, as if nothing had been released.
fn begin_again(bed: &Arc<Bed>, store: Store) -> Setup {
    // The lock keeps the stand-in for the scheduler from deciding what the directives said.
    let back = format!(
        "DO $$ BEGIN PERFORM pg_advisory_xact_lock(1); DELETE FROM placement_directive; DELETE FROM application_release; \
         DELETE FROM cell_decision WHERE slot = 'gray'; UPDATE cell_decision SET target = 4, revision = decode('{}', 'hex'); \
         END $$",
        old()
    );
    bed.postgres.query(&back).unwrap();
    let kind = Release::new(store.clone(), own_hints(&store));
    let counted = Arc::new(Counted { kind, acts: Mutex::default(), bed: Arc::clone(bed) });
    Setup { kind: Arc::clone(&counted) as Arc<dyn Kind>, world: counted }
}

#[tokio::test(flavor = "multi_thread")]
async fn release_survives_every_fault() {
    let release = json!({"batches": ["50%"], "minReady": "0s"});
    let mut stage = Stage::begin(&[cell("east", 4), cell("west", 4)], release).await;
    stage.stop_engine().await;
    let bed = stage.bed();
    let url = bed.postgres.url();
    let factory = move |store: Store| {
        let bed = Arc::clone(&bed);
        async move { begin_again(&bed, store) }.boxed()
    };
    let summary = Harness::new(factory, release_request(&key(), new())).concurrency(1).run(&url).await;
    let summary = summary.unwrap_or_else(|problems| panic!("{problems}"));
    assert!(summary.acts >= 4 && summary.faults > 30, "{summary:?}");
}
