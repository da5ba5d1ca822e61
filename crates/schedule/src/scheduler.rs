//! Runs the schedule stage in each term of its lease.

use std::convert::Infallible;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use domain::stored_revision::StoredRevision;
use runtime::supervise::Supervisor;
use store::{Claim, Hint, Hints, Keeper, ParsedRevisions, Store};
use tokio_util::sync::CancellationToken;

use crate::{Schedule, ScheduleMetrics, ScheduleTimes};

/// Name of the lease under which one process decides.
const LEASE: &str = "schedule";
/// Minimum interval between the end of a term and the start of the next.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// The scheduler of a process, with its dependencies. It needs the database alone, neither hub nor members.
#[derive(Debug)]
pub struct Scheduler {
    /// Database.
    pub store: Store,
    /// Cache of applications and their revisions.
    pub revisions: Arc<ParsedRevisions<StoredRevision>>,
    /// Hints sent and received.
    pub hints: Hints,
    /// Metrics of the stage.
    pub metrics: ScheduleMetrics,
    /// Intervals and timeouts of the stage.
    pub times: ScheduleTimes,
}

impl Scheduler {
    /// Decides applications whenever this process holds the lease, until shutdown.
    ///
    /// # Errors
    /// None: a term that fails begins again.
    pub async fn run(self, keeper: Arc<Keeper>, shutdown: CancellationToken) -> Result<(), Infallible> {
        let work = |claim: Claim, token: CancellationToken| {
            // The last holder may have died between a commit and its hints, which processes that live on then missed.
            self.hints.send(Hint::Everything);
            let mut supervisor = Supervisor::new(token.clone());
            supervisor.spawn("schedule", self.stage(claim).run(token));
            async move {
                if let Err(end) = supervisor.run().await {
                    tracing::warn!(%end, "scheduling begins again");
                }
                ControlFlow::Continue(())
            }
        };
        keeper.want(LEASE).run_in_each(RESTART_PAUSE, shutdown, work).await;
        Ok(())
    }

    /// Creates the stage for one term.
    fn stage(&self, claim: Claim) -> Schedule {
        Schedule::new(
            self.store.clone(),
            Arc::clone(&self.revisions),
            self.hints.clone(),
            claim,
            self.metrics.clone(),
            self.times,
        )
    }
}
