//! Status stage: the only writer of status on the hub.
//!
//! The stage builds status from rows, and writes only changed status.

mod application;
mod application_status;
mod cell;
mod cells;
mod cluster;
mod conditions;
mod counted;
mod culprit;
mod events;
mod facts;
mod fleet;
mod pacing;
mod ready;
mod release;
mod survival;
mod unreadable;

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use futures::StreamExt;
use kube::Client;
use kube::runtime::events::Recorder;
use runtime::queue::Queue;
use store::{AppId, Hint, Hints, Store, StoreError};
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;
use vocabulary::AppKey;

use crate::hub::{HubError, HubView};
use crate::intake::Refusals;
use crate::names::Names;
pub(crate) use fleet::Fleet;
use pacing::{GATHER, Pacing};
use runtime::batch_limiter::BatchLimiter;

/// Maximum number of objects of one batch that are written at once.
const WORKERS: usize = 6;
/// Maximum number of objects that are read together as one batch.
const BATCH: usize = 64;
/// Maximum number of concurrent batches. A batch that waits for the hub does not stop the next one.
const READERS: usize = 2;
/// Maximum interval that load puts between two passes over all objects.
///
/// Many members that change at once cause one pass.
const EVERYTHING_MOST: Duration = Duration::from_secs(1);
/// Number of checks for stale facts within `stale_after`.
const AGE_LOOKS: u32 = 6;

/// Object whose status is written next.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum StatusTarget {
    Application(AppKey),
    Cluster(String),
    Cell(String),
}

impl StatusTarget {
    fn application(&self) -> Option<&AppKey> {
        match self {
            Self::Application(key) => Some(key),
            Self::Cluster(_) | Self::Cell(_) => None,
        }
    }
}

/// Status stage with its dependencies.
#[derive(Clone)]
pub(crate) struct StatusStage {
    pub(crate) hub: Client,
    pub(crate) view: HubView,
    pub(crate) names: Names,
    pub(crate) store: Store,
    pub(crate) fleet: Fleet,
    pub(crate) hints: Hints,
    pub(crate) refusals: Refusals,
    pub(crate) recorder: Recorder,
    /// Interval between two passes over all objects, also without a hint.
    pub(crate) look_again: Duration,
    /// Age after which facts are stale.
    pub(crate) stale_after: SignedDuration,
}

/// Reason why writing a status failed. The write is retried.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StatusError {
    #[error("the hub refused")]
    Hub(#[from] HubError),
    #[error("the database refused")]
    Store(#[from] StoreError),
}

impl StatusStage {
    /// Writes the status of changed objects until shutdown.
    pub(crate) async fn run(self, shutdown: CancellationToken) -> Result<(), StoreError> {
        let queue: Queue<StatusTarget> = Queue::default();
        let pacing = Pacing::default();
        let mut hints = self.hints.subscribe();
        let mut again = tokio::time::interval(self.look_again);
        let mut age = tokio::time::interval(self.stale_after.unsigned_abs() / AGE_LOOKS);
        let work = async {
            futures::stream::unfold((), |()| async { Some((queue.take(BATCH).await, ())) })
                .for_each_concurrent(READERS, |batch| self.show(&queue, &pacing, batch))
                .await;
        };
        // Both futures are polled at all times, because work in progress may hold the connection that the listener
        // waits for.
        let listen = async {
            let listed = async {
                tokio::join!(
                    self.view.applications.completed(),
                    self.view.clusters.completed(),
                    self.view.cells.completed()
                )
            };
            tokio::pin!(listed);
            let (mut begun, mut aged) = (false, BTreeSet::new());
            let (mut everything, mut wanted) = (BatchLimiter::new(GATHER, EVERYTHING_MOST), false);
            loop {
                tokio::select! {
                    // After the first listing, the stage writes the status that the previous leader did not write any
                    // more.
                    _ = &mut listed, if !begun => { begun = true; wanted = true; }
                    () = everything.ready(), if wanted => {
                        wanted = false;
                        everything.begin(true);
                        self.everything(&queue);
                    }
                    _ = again.tick() => wanted = true,
                    // No hint reports that facts become stale, because stale facts result from missing reports.
                    _ = age.tick() => match self.fleet.view(&self.store).await {
                        Ok(fleet) => {
                            let now = fleet.aged(Timestamp::now(), self.stale_after);
                            if now != aged {
                                aged = now;
                                wanted = true;
                            }
                        }
                        Err(error) => tracing::warn!(error = vocabulary::chain(&error), "the age of facts was not looked at"),
                    },
                    hint = hints.recv() => match hint.as_deref() {
                        Ok(Hint::Show(app) | Hint::Observed(app) | Hint::Directives(Some(app))) => {
                            if let Some(key) = self.name_of(*app).await {
                                let rest = pacing.rest(&key);
                                queue.push_after(StatusTarget::Application(key), rest);
                            }
                        }
                        Ok(Hint::Refused { namespace, name }) => {
                            queue.push(StatusTarget::Application(AppKey { namespace: namespace.clone(), name: name.clone() }));
                        }
                        Ok(Hint::Seen(cluster) | Hint::Capacity(cluster) | Hint::Connection(cluster)) => queue.push_after(StatusTarget::Cluster(cluster.clone()), GATHER),
                        Ok(Hint::Forgotten { namespace, name }) => {
                            self.names.forget(&AppKey { namespace: namespace.clone(), name: name.clone() });
                        }
                        Ok(Hint::Vacated) => {
                            self.fleet.changed();
                            queue.extend(self.view.clusters.keys().into_iter().map(|key| StatusTarget::Cluster(key.name)));
                        }
                        Ok(Hint::Topology | Hint::Health(_) | Hint::Directives(None) | Hint::Everything) | Err(RecvError::Lagged(_)) => {
                            self.fleet.changed();
                            wanted = true;
                        }
                        Ok(_) => {}
                        Err(RecvError::Closed) => return,
                    },
                }
            }
        };
        tokio::select! { () = shutdown.cancelled() => {}, () = work => {}, () = listen => {} }
        Ok(())
    }

    /// Writes the status of a batch; the rows of its Applications are read together.
    async fn show(&self, queue: &Queue<StatusTarget>, pacing: &Pacing, batch: Vec<StatusTarget>) {
        let keys: Vec<AppKey> = batch.iter().filter_map(StatusTarget::application).cloned().collect();
        let stored = match application::read(self, &keys).await {
            Ok(stored) => stored,
            // An Application that cannot be read must not block the status of the others.
            Err(error) if error.is_of_one() && batch.len() > 1 => {
                let mut first = batch;
                let second = first.split_off(first.len() / 2);
                Box::pin(self.show(queue, pacing, first)).await;
                return Box::pin(self.show(queue, pacing, second)).await;
            }
            Err(error) => {
                tracing::warn!(error = vocabulary::chain(&error), "status was not written; it will be");
                for shown in &batch {
                    queue.fail(shown);
                }
                return;
            }
        };
        let stored = &stored;
        futures::stream::iter(batch)
            .for_each_concurrent(WORKERS, |shown| async move {
                let outcome = match &shown {
                    StatusTarget::Application(key) => self.show_application(queue, pacing, key, stored.get(key)).await,
                    StatusTarget::Cluster(name) => cluster::show(self, name).await,
                    StatusTarget::Cell(name) => cell::show(self, name).await,
                };
                match outcome {
                    Ok(()) => queue.finish(&shown),
                    Err(error) => {
                        queue.fail(&shown);
                        tracing::warn!(?shown, error = vocabulary::chain(&error), "status was not written; it will be");
                    }
                }
            })
            .await;
    }

    async fn show_application(
        &self,
        queue: &Queue<StatusTarget>,
        pacing: &Pacing,
        key: &AppKey,
        stored: Option<&application::Stored>,
    ) -> Result<(), StatusError> {
        match application::show(self, key, stored, || pacing.patience(key)).await? {
            application::Outcome::Already => {}
            application::Outcome::Written => pacing.written(key),
            application::Outcome::Later(pause) => queue.push_after(StatusTarget::Application(key.clone()), pause),
        }
        Ok(())
    }

    fn everything(&self, queue: &Queue<StatusTarget>) {
        queue.extend(self.view.clusters.keys().into_iter().map(|key| StatusTarget::Cluster(key.name)));
        queue.extend(self.view.cells.keys().into_iter().map(|key| StatusTarget::Cell(key.name)));
        queue.extend(self.view.applications.keys().into_iter().map(StatusTarget::Application));
    }

    async fn name_of(&self, app: AppId) -> Option<AppKey> {
        if let Some(key) = self.names.of(app) {
            return Some(key);
        }
        match self.store.application_list(&[app]).await {
            Ok(rows) => rows.iter().for_each(|row| self.names.learn(row.id, &row.key)),
            Err(error) => tracing::debug!(%error, "the application's name was not read"),
        }
        self.names.of(app)
    }
}
