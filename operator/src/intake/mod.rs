//! Intake: the only writer of intent.
//!
//! Intake stores objects of the hub that are newer than their last stored state. An absent object is never a deletion.
//! Only an object with a `deletionTimestamp` and our finalizer is deleted.

mod application;
mod cell;
mod cluster;
mod credential;
mod declaration;
mod metrics;
mod provenance;
mod refusals;
mod zone_cells;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use kube::runtime::events::Recorder;
use runtime::queue::Queue;
use store::seal::EnvelopeKey;
use store::{Claim, Hint, Hints, Store, StoreError};
use tokio_util::sync::CancellationToken;
use vocabulary::AppKey;

pub(crate) use application::KIND as APPLICATION;
pub(crate) use cell::KIND as CELL;
pub(crate) use cluster::KIND as CLUSTER;
pub(crate) use metrics::IntakeMetrics;
pub(crate) use refusals::{Refusal, Refusals};

use crate::hub::{HubError, Objects};
pub(crate) use crate::hub::{HubView, PodSecurity};
use crate::names::Names;

/// Maximum number of objects that intake processes at once, for each kind.
const WORKERS: usize = 8;
/// Interval between two intakes of all objects, also without any event.
const LOOK_AGAIN: Duration = Duration::from_mins(5);
/// Interval between two checks for Applications missing on the hub.
///
/// The watch reports deletions but not absences.
const LOOK_FOR_ABSENT: Duration = Duration::from_secs(15);

/// Intake with its dependencies.
#[derive(Clone)]
pub(crate) struct Intake {
    pub(crate) hub: Client,
    /// UID of the hub, which is part of the provenance of every intent.
    pub(crate) hub_uid: String,
    pub(crate) view: HubView,
    pub(crate) names: Names,
    pub(crate) store: Store,
    pub(crate) key: Arc<EnvelopeKey>,
    pub(crate) claim: Claim,
    pub(crate) hints: Hints,
    pub(crate) refusals: Refusals,
    pub(crate) pod_security: PodSecurity,
    pub(crate) recorder: Recorder,
    pub(crate) metrics: IntakeMetrics,
}

/// Reason why an intake failed. The intake is retried.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IntakeError {
    #[error("the hub refused")]
    Hub(#[from] HubError),
    #[error("the database refused")]
    Store(#[from] StoreError),
    #[error("intent could not be written as JSON")]
    Json(#[from] serde_json::Error),
}

impl Intake {
    /// Takes in all changed objects until shutdown.
    pub(crate) async fn run(self, shutdown: CancellationToken) -> Result<(), StoreError> {
        let mut hints = self.hints.subscribe();
        let mut again = tokio::time::interval(LOOK_AGAIN);
        let work = async {
            tokio::join!(
                self.work(Some(APPLICATION), &self.view.changed_applications, |key| application::take_in(&self, key)),
                self.work(Some(CLUSTER), &self.view.changed_clusters, |key| cluster::take_in(&self, key)),
                self.work(Some(CELL), &self.view.changed_cells, |key| cell::take_in(&self, key)),
                self.work(None, &self.view.changed_secrets, |key| credential::take_in(&self, key)),
                self.work(None, &self.view.changed_policies, async |key| {
                    application::policy_changed(&self, &key);
                    Ok(())
                }),
            )
        };
        // Both futures are polled at all times, because work in progress may hold the connection that the listener
        // waits for.
        let listen = async {
            let mut missing = tokio::time::interval(LOOK_FOR_ABSENT);
            let mut absent = BTreeSet::new();
            loop {
                tokio::select! {
                    _ = again.tick() => self.look_again(),
                    _ = missing.tick() => if let Err(error) = application::count_absent(&self, &mut absent).await {
                        tracing::warn!(error = vocabulary::chain(&error), "what is missing on the hub was not counted");
                    },
                    hint = hints.recv() => match hint.as_deref() {
                        Ok(Hint::Forgotten { namespace, name }) => {
                            let key = AppKey { namespace: namespace.clone(), name: name.clone() };
                            if namespace.is_empty() { self.view.changed_clusters.push(key) } else { self.view.changed_applications.push(key) }
                        }
                        Ok(Hint::Vacated) => {
                            let leaving = |key: &AppKey| self.view.clusters.get(key).is_some_and(|object| object.metadata.deletion_timestamp.is_some());
                            self.view.changed_clusters.extend(self.view.clusters.keys().into_iter().filter(leaving));
                            let leaving = |key: &AppKey| self.view.cells.get(key).is_some_and(|object| object.metadata.deletion_timestamp.is_some());
                            self.view.changed_cells.extend(self.view.cells.keys().into_iter().filter(leaving));
                        }
                        Ok(Hint::Everything) | Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => self.look_again(),
                        Ok(_) => {}
                        Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
                    },
                }
            }
        };
        tokio::select! { () = shutdown.cancelled() => {}, _ = work => {}, () = listen => {} }
        Ok(())
    }

    fn look_again(&self) {
        self.view.changed_clusters.extend(self.view.clusters.keys());
        self.view.changed_cells.extend(self.view.cells.keys());
        self.view.changed_applications.extend(self.view.applications.keys());
        self.view.changed_secrets.extend(self.view.secrets.keys());
    }

    /// Returns the object if it is present and readable.
    ///
    /// Records a refusal for an unreadable object. Clears the refusal of an absent object.
    fn readable<K>(&self, kind: &'static str, key: &AppKey, objects: &Objects<K>) -> Option<Arc<K>> {
        let unreadable = objects.unreadable(key);
        let object = objects.get(key).filter(|_| unreadable.is_none());
        if object.is_none() {
            self.refuse(kind, key, unreadable.as_deref().map(Refusal::unreadable));
        }
        object
    }

    /// Stores or clears the refusal of an object, and triggers its status.
    fn refuse(&self, kind: &'static str, key: &AppKey, refusal: Option<Refusal>) {
        if let Some(Refusal { reason, message, .. }) = &refusal
            && self.refusals.get(kind, key) != refusal
        {
            tracing::warn!(kind, %key, reason, message, "an object is not taken in");
        }
        if !self.refusals.set(kind, key, refusal) {
            return;
        }
        self.hints.send(match kind {
            APPLICATION => Hint::Refused { namespace: key.namespace.clone(), name: key.name.clone() },
            _ => Hint::Topology,
        });
    }

    /// Takes in the changed objects of a queue. Refusals are stored under `kind`.
    async fn work<F, Fut>(&self, kind: Option<&'static str>, queue: &Queue<AppKey>, take_in: F)
    where
        F: Fn(AppKey) -> Fut,
        Fut: Future<Output = Result<(), IntakeError>>,
    {
        use futures::StreamExt;
        futures::stream::unfold((), |()| async { Some((queue.take(1).await, ())) })
            .flat_map(futures::stream::iter)
            .for_each_concurrent(WORKERS, |key| {
                let outcome = take_in(key.clone());
                async move {
                    match outcome.await {
                        Ok(()) => queue.finish(&key),
                        Err(error) => {
                            if let (Some(kind), IntakeError::Store(refused)) = (kind, &error)
                                && refused.refuses_content()
                            {
                                self.refuse(kind, &key, Some(Refusal::not_stored(refused)));
                            }
                            let failures = queue.fail(&key);
                            self.metrics.retries.inc();
                            tracing::warn!(%key, failures, error = vocabulary::chain(&error), "intake failed; it will be repeated");
                        }
                    }
                }
            })
            .await;
    }
}
