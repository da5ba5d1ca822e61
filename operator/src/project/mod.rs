//! Project: the only writer of status on the hub. Shows what rows say, and writes only what changed.

mod application;
mod cell;
mod cluster;
mod conditions;
mod events;
mod fleet;
mod status;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::SignedDuration;

use futures::StreamExt;
use kube::Client;
use kube::runtime::events::Recorder;
use runtime::queue::Queue;
use store::{AppId, Hint, Hints, Store, StoreError};
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;
use vocabulary::AppKey;

use crate::hub::HubError;
use crate::intake::{HubView, Refusals};
pub(crate) use fleet::Fleet;

/// Objects written at once.
const WORKERS: usize = 8;
/// Changes that follow each other this fast are shown together.
const GATHER: Duration = Duration::from_millis(30);
/// Between two looks at one application's status: what happens faster is shown together.
const PACE: Duration = Duration::from_millis(400);

/// What is shown next.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Shown {
    Application(AppKey),
    Cluster(String),
    Cell(String),
}

/// What the stage works with.
#[derive(Clone)]
pub(crate) struct Project {
    pub(crate) hub: Client,
    pub(crate) view: HubView,
    pub(crate) store: Store,
    pub(crate) fleet: Fleet,
    pub(crate) hints: Hints,
    pub(crate) refusals: Refusals,
    /// Writes events.
    pub(crate) recorder: Recorder,
    /// When everything is looked at again although nothing was heard: also what turns facts stale in time.
    pub(crate) look_again: Duration,
    /// Facts older than this are stale.
    pub(crate) stale_after: SignedDuration,
}

/// Why an object was not shown this time. It is tried again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProjectError {
    #[error("the hub refused")]
    Hub(#[from] HubError),
    #[error("the database refused")]
    Store(#[from] StoreError),
}

type Names = Arc<Mutex<BTreeMap<AppId, AppKey>>>;

impl Project {
    /// Shows whatever changes until shutdown.
    pub(crate) async fn run(self, shutdown: CancellationToken) -> Result<(), StoreError> {
        let queue: Queue<Shown> = Queue::default();
        let names = Names::default();
        let looked: Mutex<HashMap<AppKey, Instant>> = Mutex::default();
        let mut hints = self.hints.subscribe();
        let mut again = tokio::time::interval(self.look_again);
        let work = async {
            futures::stream::unfold((), |()| async { Some((queue.take(1).await, ())) })
                .flat_map(futures::stream::iter)
                .for_each_concurrent(WORKERS, |shown| {
                    let queue = &queue;
                    let project = &self;
                    let looked = &looked;
                    async move {
                        let outcome = match &shown {
                            Shown::Application(key) => {
                                looked
                                    .lock()
                                    .unwrap_or_else(PoisonError::into_inner)
                                    .insert(key.clone(), Instant::now());
                                application::show(project, key).await
                            }
                            Shown::Cluster(name) => cluster::show(project, name).await,
                            Shown::Cell(name) => cell::show(project, name).await,
                        };
                        match outcome {
                            Ok(()) => queue.finish(&shown),
                            Err(error) => {
                                queue.fail(&shown);
                                tracing::warn!(
                                    ?shown,
                                    error = crate::error_chain(&error),
                                    "status was not written; it will be"
                                );
                            }
                        }
                    }
                })
                .await;
        };
        // Both are polled at all times: work in progress may hold the connection that listening waits for.
        let listen = async {
            loop {
                tokio::select! {
                    _ = again.tick() => self.everything(&queue),
                    hint = hints.recv() => match hint.as_deref() {
                        Ok(Hint::Show(app) | Hint::Observed(app)) => {
                            if let Some(key) = self.name_of(&names, *app).await {
                                let mut looked = looked.lock().unwrap_or_else(PoisonError::into_inner);
                                looked.retain(|_, at| at.elapsed() < PACE);
                                let rest = looked.get(&key).map_or(GATHER, |at| GATHER.max(PACE.saturating_sub(at.elapsed())));
                                queue.push_after(Shown::Application(key), rest);
                            }
                        }
                        Ok(Hint::Refused { namespace, name }) => {
                            queue.push(Shown::Application(AppKey { namespace: namespace.clone(), name: name.clone() }));
                        }
                        Ok(Hint::Capacity(cluster) | Hint::Connection(cluster)) => queue.push_after(Shown::Cluster(cluster.clone()), GATHER),
                        Ok(Hint::Vacated) => queue.extend(self.view.clusters.keys().into_iter().map(|key| Shown::Cluster(key.name))),
                    Ok(Hint::Topology | Hint::Everything) | Err(RecvError::Lagged(_)) => self.everything(&queue),
                        Ok(_) => {}
                        Err(RecvError::Closed) => return,
                    },
                }
            }
        };
        tokio::select! { () = shutdown.cancelled() => {}, () = work => {}, () = listen => {} }
        Ok(())
    }

    fn everything(&self, queue: &Queue<Shown>) {
        queue.extend(self.view.clusters.keys().into_iter().map(|key| Shown::Cluster(key.name)));
        queue.extend(self.view.cells.keys().into_iter().map(|key| Shown::Cell(key.name)));
        queue.extend(self.view.applications.keys().into_iter().map(Shown::Application));
    }

    async fn name_of(&self, names: &Names, app: AppId) -> Option<AppKey> {
        let known = |names: &Names| names.lock().unwrap_or_else(PoisonError::into_inner).get(&app).cloned();
        if let Some(key) = known(names) {
            return Some(key);
        }
        match self.store.application_keys().await {
            Ok(keys) => *names.lock().unwrap_or_else(PoisonError::into_inner) = keys.into_iter().collect(),
            Err(error) => tracing::debug!(%error, "application names were not read"),
        }
        known(names)
    }
}
