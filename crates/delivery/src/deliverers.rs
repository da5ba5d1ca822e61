//! Runs one deliverer for each cluster whose lease this process holds.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use store::{Hint, Hints, Keeper, Store, Terms};
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use vocabulary::ClusterName;

use crate::{Delivery, DeliveryError, deliverer};

/// Interval between two reads of the list of clusters without a hint.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// Pause before a deliverer starts again.
const AGAIN: Duration = Duration::from_millis(500);

/// All deliverers of this process, with their dependencies.
#[derive(Debug)]
pub struct Deliverers {
    /// Database.
    pub store: Store,
    /// Hints received.
    pub hints: Hints,
    /// Keeper of the lease of each cluster.
    pub keeper: Arc<Keeper>,
    /// Shared services of the deliverers.
    pub delivery: Delivery,
}

impl Deliverers {
    /// Keeps one task for each cluster until shutdown.
    ///
    /// # Errors
    /// None: a deliverer that fails begins again.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Infallible> {
        let mut hints = self.hints.subscribe();
        let mut running: BTreeMap<ClusterName, CancellationToken> = BTreeMap::new();
        let mut tasks = JoinSet::new();
        let mut again = tokio::time::interval(LOOK_AGAIN);
        loop {
            let look = tokio::select! {
                () = shutdown.cancelled() => break,
                _ = again.tick() => true,
                hint = hints.recv() => match hint.as_deref() {
                    Ok(Hint::Topology | Hint::Everything) | Err(RecvError::Lagged(_)) => true,
                    Ok(_) => false,
                    Err(RecvError::Closed) => break,
                },
                Some(ended) = tasks.join_next() => {
                    // A deliverer that panicked restarts with the next pass. Restarted at once, it might only panic
                    // again.
                    ended.inspect_err(|error| tracing::error!(%error, "a deliverer panicked; it begins again")).is_ok()
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

    async fn cover(
        &self,
        running: &mut BTreeMap<ClusterName, CancellationToken>,
        tasks: &mut JoinSet<()>,
        shutdown: &CancellationToken,
    ) {
        let rows = match self.store.cluster_taken_list().await {
            Ok(rows) => rows,
            Err(error) => {
                tracing::warn!(error = vocabulary::chain(&error), "clusters were not read; the next round will");
                return;
            }
        };
        let names: Vec<ClusterName> = rows.iter().filter_map(|row| row.name.parse().ok()).collect();
        running.retain(|name, token| {
            // At shutdown all tokens are cancelled, but no lease is left here. All leases are released afterwards, so
            // that other processes get them at once.
            let ended = token.is_cancelled() && !shutdown.is_cancelled();
            let stays = names.contains(name) && !ended;
            if !stays {
                token.cancel();
                self.keeper.leave(&lease(name));
            }
            stays
        });
        for name in names {
            if !running.contains_key(&name) {
                let token = shutdown.child_token();
                running.insert(name.clone(), token.clone());
                let terms = self.keeper.want(&lease(&name));
                tasks.spawn(deliver(self.delivery.clone(), name, terms, token));
            }
        }
    }
}

fn lease(cluster: &ClusterName) -> String {
    format!("deliver/{cluster}")
}

/// Delivers to one cluster whenever this process holds its lease.
async fn deliver(delivery: Delivery, cluster: ClusterName, terms: Terms, shutdown: CancellationToken) {
    // However the task ends, its token is cancelled, so that `cover` starts it again.
    let _ended = shutdown.clone().drop_guard();
    let work = |claim, token| {
        let (delivery, cluster) = (delivery.clone(), cluster.clone());
        async move {
            match deliverer::run(delivery, cluster.clone(), claim, token).await {
                Ok(()) => {}
                Err(DeliveryError::Gone(_)) => return ControlFlow::Break(()),
                Err(error) => tracing::warn!(%cluster, error = vocabulary::chain(&error), "delivery begins again"),
            }
            ControlFlow::Continue(())
        }
    };
    terms.run_in_each(AGAIN, shutdown, work).await;
}
