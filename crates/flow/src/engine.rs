//! Claims operations: one lease and one task for each that is active and of a known kind.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::operation::Priority;
use store::{Hint, Hints, Keeper, Store, Terms};
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use vocabulary::{OperationId, chain};

use crate::kind::{Kind, Kinds};
use crate::metrics::FlowMetrics;
use crate::owner::Owner;
use crate::times::FlowTimes;

/// Maximum number of operations whose lease one process wants at once, in the order of their ids.
///
/// All processes want the same ones, so further operations wait until one of these ends.
const OWNED_MAX: usize = 256;
/// Number of these that releases and rollouts leave to kinds of higher priority.
///
/// Any tenant starts releases. However many wait for their pods, a drain or a recovery begins at once.
const RESERVED: usize = 64;

/// Returns the number of owned operations from which on a process takes no more of this priority.
const fn owned_max(priority: Priority) -> usize {
    match priority {
        Priority::Rollout | Priority::Release => OWNED_MAX - RESERVED,
        Priority::Migration | Priority::Drain | Priority::GracefulRecovery | Priority::ForcedRecovery => OWNED_MAX,
    }
}

/// The engine with its dependencies.
#[derive(Debug, Clone)]
pub struct Engine {
    /// The database.
    pub store: Store,
    /// Hints of this and other processes.
    pub hints: Hints,
    /// Keeper of this process's leases.
    pub keeper: Arc<Keeper>,
    /// Kinds that this process supports.
    pub kinds: Kinds,
    /// Metrics of this process.
    pub metrics: FlowMetrics,
    /// Intervals and timeouts.
    pub times: FlowTimes,
}

impl Engine {
    /// Runs operations until shutdown.
    ///
    /// # Errors
    /// Never; failures are retried.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), std::convert::Infallible> {
        let mut hints = self.hints.subscribe();
        let mut again = tokio::time::interval(self.times.look_again);
        let mut running: BTreeMap<OperationId, CancellationToken> = BTreeMap::new();
        let mut tasks = JoinSet::new();
        loop {
            let look = tokio::select! {
                () = shutdown.cancelled() => break,
                _ = again.tick() => true,
                hint = hints.recv() => match hint.as_deref() {
                    Ok(Hint::Operation(id)) => !running.contains_key(id),
                    Ok(Hint::Everything) | Err(RecvError::Lagged(_)) => true,
                    Ok(_) => false,
                    Err(RecvError::Closed) => break,
                },
                Some(ended) = tasks.join_next() => {
                    // An owner that panicked begins again with the next look, and not at once: it may panic again.
                    ended.inspect_err(|error| tracing::error!(%error, "an owner panicked; it begins again")).is_ok()
                }
            };
            if look {
                self.cover(&mut running, &mut tasks, &shutdown).await;
            }
        }
        running.values().for_each(CancellationToken::cancel);
        while tasks.join_next().await.is_some() {}
        Ok(())
    }

    /// Wants the leases of active operations of known kinds, up to [`owned_max`], and leaves those that ended.
    async fn cover(
        &self,
        running: &mut BTreeMap<OperationId, CancellationToken>,
        tasks: &mut JoinSet<()>,
        shutdown: &CancellationToken,
    ) {
        let active = match self.store.operation_active().await {
            Ok(active) => active,
            Err(error) => {
                tracing::warn!(error = chain(&error), "active operations were not read; the next round reads them");
                return;
            }
        };
        running.retain(|id, token| {
            let ended = token.is_cancelled() && !shutdown.is_cancelled();
            if ended {
                self.keeper.leave(&lease(*id));
            }
            !ended
        });
        for operation in active {
            let kind = self.kinds.get(&operation.kind).filter(|kind| kind.supports(operation.logic_version));
            let (Some(kind), false) = (kind, running.contains_key(&operation.id)) else { continue };
            if running.len() >= owned_max(kind.priority()) {
                continue;
            }
            let token = shutdown.child_token();
            running.insert(operation.id, token.clone());
            let terms = self.keeper.want(&lease(operation.id));
            tasks.spawn(self.clone().own(operation.id, Arc::clone(kind), terms, token));
        }
        self.metrics.owned.set(i64::try_from(running.len()).unwrap_or(i64::MAX));
    }

    /// Drives one operation whenever this process holds its lease, until it needs no owner.
    async fn own(self, id: OperationId, kind: Arc<dyn Kind>, mut terms: Terms, token: CancellationToken) {
        // However the task ends, its token is cancelled, so that `cover` leaves the lease.
        let _ended = token.clone().drop_guard();
        loop {
            let claim = tokio::select! {
                () = token.cancelled() => return,
                claim = terms.begin() => claim,
            };
            let Some(claim) = claim else { return };
            let owner = Owner {
                store: self.store.clone(),
                hints: self.hints.clone(),
                kind: Arc::clone(&kind),
                claim: claim.clone(),
                metrics: self.metrics.clone(),
                times: self.times,
            };
            let outcome = tokio::select! {
                () = token.cancelled() => return,
                outcome = owner.drive(id) => outcome,
                // Dropping the work ends its attempts: their writes would be refused.
                () = terms.end_of(&claim) => continue,
            };
            match outcome {
                Ok(()) => return,
                Err(error) => {
                    tracing::warn!(operation = %id, error = chain(&error), "the operation's owner begins again");
                    tokio::select! { () = token.cancelled() => return, () = tokio::time::sleep(self.times.look_again) => {} }
                }
            }
        }
    }
}

pub(crate) fn lease(id: OperationId) -> String {
    format!("operation/{id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_leave_room_for_drains_and_recoveries() {
        for (urgent, patient) in [(Priority::Drain, Priority::Release), (Priority::ForcedRecovery, Priority::Rollout)] {
            assert!(owned_max(urgent) >= owned_max(patient) + RESERVED, "{urgent:?} and {patient:?}");
        }
    }
}
