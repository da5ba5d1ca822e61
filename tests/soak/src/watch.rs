//! Watches members and the hub during faults.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use acceptance::Fleet;
use anyhow::Context;
use crds::Application;
use futures::TryStreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use kube::runtime::watcher::{Config, Event, watcher};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::gathered::{Status, Version};
use crate::run::NAMESPACE;

/// Delay between an error of a watch and the next attempt.
///
/// A server that is down refuses connections at once.
const TRY_AGAIN: Duration = Duration::from_millis(200);
/// Timeout for the first list of a watch.
const LISTED: Duration = Duration::from_mins(1);

type Shared<T> = Arc<Mutex<Vec<T>>>;

/// Watches of all members and the hub; dropping the value stops them.
#[derive(Debug)]
pub(crate) struct Watches {
    versions: Shared<Version>,
    statuses: Shared<Status>,
    tasks: Vec<JoinHandle<()>>,
}

impl Watches {
    /// Watches workloads in all members and applications on the hub; times count from `start`.
    pub(crate) async fn follow(fleet: &Fleet, start: Instant) -> anyhow::Result<Self> {
        let mut watches = Self { versions: Arc::default(), statuses: Arc::default(), tasks: Vec::new() };
        for member in fleet.bed.members.keys() {
            let api: Api<Deployment> = Api::namespaced(fleet.client(member).await?, NAMESPACE);
            let (cluster, versions) = (member.clone(), Arc::clone(&watches.versions));
            let note = move |object: &Deployment, gone: bool| {
                push(&versions, version(&cluster, object, gone, since(start)));
            };
            watches.add(api, note).await.with_context(|| format!("watching {member}"))?;
        }
        let api: Api<Application> = Api::namespaced(fleet.client("hub").await?, NAMESPACE);
        let statuses = Arc::clone(&watches.statuses);
        let note = move |app: &Application, gone: bool| {
            if !gone {
                push(&statuses, status(app, since(start)));
            }
        };
        watches.add(api, note).await.context("watching the hub")?;
        Ok(watches)
    }

    async fn add<K>(&mut self, api: Api<K>, note: impl Fn(&K, bool) + Send + 'static) -> anyhow::Result<()>
    where
        K: Resource + Clone + std::fmt::Debug + DeserializeOwned + Send + Sync + 'static,
    {
        let (listed, mut is_listed) = watch::channel(false);
        self.tasks.push(tokio::spawn(follow(api, note, listed)));
        tokio::time::timeout(LISTED, is_listed.wait_for(|listed| *listed)).await??;
        Ok(())
    }

    /// Returns copies of all versions and statuses received so far.
    pub(crate) fn seen(&self) -> (Vec<Version>, Vec<Status>) {
        let copy = |versions: &Shared<Version>| versions.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let statuses = self.statuses.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (copy(&self.versions), statuses)
    }
}

impl Drop for Watches {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

fn since(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn push<T>(all: &Shared<T>, one: T) {
    all.lock().unwrap_or_else(PoisonError::into_inner).push(one);
}

async fn follow<K>(api: Api<K>, note: impl Fn(&K, bool), listed: watch::Sender<bool>)
where
    K: Resource + Clone + std::fmt::Debug + DeserializeOwned + Send + 'static,
{
    let mut events = std::pin::pin!(watcher(api, Config::default()));
    let mut known: BTreeMap<String, K> = BTreeMap::new();
    // A list only omits the objects that were deleted while the watch was down.
    let mut unseen: BTreeSet<String> = BTreeSet::new();
    loop {
        match events.try_next().await {
            Ok(Some(Event::Init)) => unseen = known.keys().cloned().collect(),
            Ok(Some(Event::InitApply(object) | Event::Apply(object))) => {
                note(&object, false);
                unseen.remove(&object.name_any());
                known.insert(object.name_any(), object);
            }
            Ok(Some(Event::InitDone)) => {
                for name in std::mem::take(&mut unseen) {
                    if let Some(object) = known.remove(&name) {
                        note(&object, true);
                    }
                }
                listed.send_replace(true);
            }
            Ok(Some(Event::Delete(object))) => {
                note(&object, true);
                known.remove(&object.name_any());
            }
            Ok(None) => return,
            // The run disturbs the server on purpose; the watcher lists again by itself.
            Err(_) => tokio::time::sleep(TRY_AGAIN).await,
        }
    }
}

fn version(cluster: &str, object: &Deployment, gone: bool, at: u64) -> Version {
    let replicas = object.spec.as_ref().and_then(|spec| spec.replicas);
    let available = object.status.as_ref().and_then(|status| status.available_replicas);
    let number = |number: Option<i32>| number.filter(|_| !gone).map_or(0, i64::from);
    Version {
        at,
        cluster: cluster.to_owned(),
        app: object.name_any(),
        uid: object.uid().unwrap_or_default(),
        gone,
        replicas: number(replicas),
        available: number(available),
        is_unobserved: object.status.as_ref().and_then(|status| status.observed_generation)
            < object.metadata.generation,
        fence: object.annotations().get(vocabulary::labels::FENCE).cloned(),
    }
}

/// Extracts the status of an application as users see it.
pub(crate) fn status(app: &Application, at: u64) -> Status {
    let shown = app.status.clone().unwrap_or_default();
    let cell =
        |cell: &crds::application::v1alpha1::CellReplicas| (cell.cluster.clone(), (i64::from(cell.ready), cell.stale));
    Status {
        at,
        app: app.name_any(),
        ready: i64::from(shown.ready),
        stale_ready: i64::from(shown.stale_ready),
        cells: shown.cells.iter().map(cell).collect(),
    }
}
