//! Watches the Deployments of all members and records when each one showed which state.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::bail;
use futures::StreamExt;
use kube::Client;
use kube::api::WatchEvent;
use serde::Deserialize;
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// Annotation that edits change, on the delivered Deployment.
pub(crate) const EDIT: &str = "bench.example/edit";

/// Fields of a Deployment that the watch reads.
#[derive(Debug, Clone, Deserialize)]
struct Lean {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Debug, Clone, Deserialize)]
struct Metadata {
    name: String,
    namespace: String,
    #[serde(default)]
    annotations: HashMap<String, String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Spec {
    replicas: i32,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    available_replicas: i32,
}

/// Last observed state of a Deployment.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) first: Instant,
    /// First time at which all replicas were available.
    pub(crate) available: Option<Instant>,
    pub(crate) replicas: i32,
    pub(crate) edit: Option<String>,
}

type Key = (String, String, String);

#[derive(Debug, Default)]
struct State {
    seen: HashMap<Key, Seen>,
}

/// Watches of all members; dropping the value stops them.
#[derive(Debug)]
pub(crate) struct Witness {
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
    _watches: JoinSet<()>,
}

impl Witness {
    /// Starts watches on the Deployments of all members.
    pub(crate) fn new(members: Vec<(String, Client)>) -> Self {
        let state = Arc::<Mutex<State>>::default();
        let changed = Arc::<Notify>::default();
        let mut watches = JoinSet::new();
        for (member, client) in members {
            watches.spawn(watch(member, client, Arc::clone(&state), Arc::clone(&changed)));
        }
        Self { state, changed, _watches: watches }
    }

    /// Calls `read` with all observed Deployments.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&HashMap<Key, Seen>) -> T) -> T {
        read(&self.state.lock().unwrap_or_else(PoisonError::into_inner).seen)
    }

    /// Returns the observed state of one Deployment in one member.
    pub(crate) fn get(&self, member: &str, namespace: &str, name: &str) -> Option<Seen> {
        self.read(|seen| seen.get(&(member.to_owned(), namespace.to_owned(), name.to_owned())).cloned())
    }

    /// Waits until a condition holds for the observed state, and returns the time at which it held.
    ///
    /// # Errors
    /// When the condition does not hold within `limit`.
    pub(crate) async fn until(
        &self,
        what: &str,
        limit: Duration,
        mut is_true: impl FnMut(&Self) -> bool,
    ) -> anyhow::Result<Instant> {
        let ends = tokio::time::Instant::now() + limit;
        loop {
            let changed = self.changed.notified();
            if is_true(self) {
                return Ok(Instant::now());
            }
            if tokio::time::timeout_at(ends, changed).await.is_err() {
                bail!("{what}: not within {} s", limit.as_secs());
            }
        }
    }
}

/// Watches a member until the task is dropped.
///
/// The watch restarts when the server ends the watch or does not answer.
async fn watch(member: String, client: Client, state: Arc<Mutex<State>>, changed: Arc<Notify>) {
    loop {
        let request = http::Request::get("/apis/apps/v1/deployments?watch=1&resourceVersion=0&timeoutSeconds=3000")
            .body(Vec::new())
            .expect("the request is well formed");
        let Ok(events) = client.request_events::<Lean>(request).await else {
            tokio::time::sleep(Duration::from_millis(200)).await;
            continue;
        };
        let mut events = Box::pin(events);
        while let Some(Ok(event)) = events.next().await {
            let now = Instant::now();
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    let key = (member.clone(), object.metadata.namespace, object.metadata.name);
                    let seen =
                        state.seen.entry(key).or_insert(Seen { first: now, available: None, replicas: 0, edit: None });
                    seen.replicas = object.spec.replicas;
                    seen.edit = object.metadata.annotations.get(EDIT).cloned();
                    if seen.available.is_none() && object.status.available_replicas >= object.spec.replicas {
                        seen.available = Some(now);
                    }
                }
                WatchEvent::Deleted(object) => {
                    state.seen.remove(&(member.clone(), object.metadata.namespace, object.metadata.name));
                }
                WatchEvent::Bookmark(_) | WatchEvent::Error(_) => {}
            }
            drop(state);
            changed.notify_waiters();
        }
    }
}
