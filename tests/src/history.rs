//! Records every version of member objects, so that tests can check what happened at any time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures::TryStreamExt;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::watcher::{Config, Event, watcher};
use kube::{Api, ResourceExt};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::{Fleet, SOON};

/// Maximum time for which a sum over members may be too low because of the order of events.
///
/// Watches of several members do not arrive in one order. The limit is shorter than the start of a simulated pod, so a
/// replica that was really given up takes longer.
const OUT_OF_ORDER: Duration = Duration::from_millis(100);

/// One version of an object in one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Time at which the version arrived in this process.
    pub at: Instant,
    /// Name of the member.
    pub cluster: String,
    /// Name of the object.
    pub name: String,
    /// UID of the object. Another UID means another object.
    pub uid: String,
    /// Whether this version records the deletion of the object.
    pub gone: bool,
    /// `spec.replicas`; 0 if the object has none or was deleted.
    pub replicas: i64,
    /// Whether `spec.replicas` differs from the version before. True for a first version.
    pub is_order: bool,
    /// `status.availableReplicas`; 0 if the object has none or was deleted.
    pub available: i64,
}

/// All versions of the objects of one kind, in one namespace of several members, since the start.
#[derive(Debug)]
pub struct History {
    versions: Arc<Mutex<Vec<Version>>>,
    tasks: Vec<JoinHandle<()>>,
}

impl History {
    /// Records a kind, given as in `apps/v1/Deployment` or `v1/Secret`.
    ///
    /// The first version of an existing object is its state at the start.
    ///
    /// # Errors
    /// If a member cannot be watched.
    pub async fn follow(fleet: &Fleet, clusters: &[&str], kind: &str, namespace: &str) -> anyhow::Result<Self> {
        let (api_version, kind) = kind.rsplit_once('/').context("a kind is written as v1/Secret")?;
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        let mut history = Self { versions: Arc::default(), tasks: Vec::new() };
        for cluster in clusters {
            let api: Api<DynamicObject> = Api::namespaced_with(fleet.client(cluster).await?, namespace, &resource);
            let (listed, mut is_listed) = watch::channel(false);
            let task = record(api, (*cluster).to_owned(), Arc::clone(&history.versions), listed);
            history.tasks.push(tokio::spawn(task));
            tokio::time::timeout(SOON, is_listed.wait_for(|listed| *listed))
                .await
                .with_context(|| format!("{cluster} was not listed in time"))??;
        }
        Ok(history)
    }

    /// Returns all versions so far, in the order in which they arrived.
    pub fn versions(&self) -> Vec<Version> {
        self.versions.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the last version of each object, by member and name.
    pub fn now(&self) -> BTreeMap<(String, String), Version> {
        let named = |version: Version| ((version.cluster.clone(), version.name.clone()), version);
        self.versions().into_iter().map(named).collect()
    }

    /// Returns the versions recorded so far of the objects of one name.
    #[must_use]
    pub fn of(&self, name: &str) -> Self {
        let versions = self.versions().into_iter().filter(|version| version.name == name).collect();
        Self { versions: Arc::new(Mutex::new(versions)), tasks: Vec::new() }
    }

    /// Checks that `spec.replicas` of every object only rises.
    ///
    /// # Errors
    /// If it falls. The error names the object and its numbers.
    pub fn replicas_never_fall(&self) -> anyhow::Result<()> {
        self.replicas(|before, after| after >= before, "fell")
    }

    /// Checks that `spec.replicas` of every object only falls.
    ///
    /// # Errors
    /// If it rises. The error names the object and its numbers.
    pub fn replicas_never_rise(&self) -> anyhow::Result<()> {
        self.replicas(|before, after| after <= before, "rose")
    }

    fn replicas(&self, allowed: impl Fn(i64, i64) -> bool, what: &str) -> anyhow::Result<()> {
        let mut replicas: BTreeMap<(String, String), Vec<i64>> = BTreeMap::new();
        for version in self.versions() {
            replicas.entry((version.cluster, version.name)).or_default().push(version.replicas);
        }
        ensure!(!replicas.is_empty(), "no object was seen");
        for ((cluster, name), mut numbers) in replicas {
            numbers.dedup();
            ensure!(
                numbers.is_sorted_by(|before, after| allowed(*before, *after)),
                "{name} in {cluster} {what}: {numbers:?}"
            );
        }
        Ok(())
    }

    /// Checks that the sum of available replicas over members was never below `wanted`.
    ///
    /// Lower sums are accepted for at most `OUT_OF_ORDER`, and until the sum first reaches `wanted`.
    ///
    /// # Errors
    /// If the sum was lower. The error contains the sum, its duration and where the replicas were.
    pub fn available_at_least(&self, wanted: i64) -> anyhow::Result<()> {
        let mut now: BTreeMap<(String, String), i64> = BTreeMap::new();
        let mut low: Option<(Instant, String)> = None;
        let mut begun = false;
        let versions = self.versions();
        let end = Instant::now();
        let judge = |low: &Option<(Instant, String)>, until: Instant| {
            let Some((since, seen)) = low else { return Ok(()) };
            let lasted = until.duration_since(*since);
            ensure!(lasted <= OUT_OF_ORDER, "below {wanted} for {} ms: {seen}", lasted.as_millis());
            Ok(())
        };
        for version in versions {
            now.insert((version.cluster, version.name), version.available);
            let sum: i64 = now.values().sum();
            // The first list of each member arrives separately, so early sums are too low.
            begun |= sum >= wanted;
            if begun && sum < wanted {
                low.get_or_insert_with(|| (version.at, format!("{sum} in {now:?}")));
            } else {
                judge(&low, version.at)?;
                low = None;
            }
        }
        ensure!(begun, "it never had {wanted} available: {now:?}");
        judge(&low, end)
    }

    /// Counts the different objects that had a name in a member, one after the other or at once.
    pub fn lives(&self, cluster: &str, name: &str) -> usize {
        let mut uids: Vec<String> = self
            .versions()
            .into_iter()
            .filter(|version| version.cluster == cluster && version.name == name)
            .map(|version| version.uid)
            .collect();
        uids.sort();
        uids.dedup();
        uids.len()
    }
}

impl Drop for History {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn record(
    api: Api<DynamicObject>,
    cluster: String,
    versions: Arc<Mutex<Vec<Version>>>,
    listed: watch::Sender<bool>,
) {
    let add = |object: &DynamicObject, gone: bool| {
        let number = |pointer: &str| {
            object.data.pointer(pointer).and_then(serde_json::Value::as_i64).filter(|_| !gone).unwrap_or(0)
        };
        let (name, replicas) = (object.name_any(), number("/spec/replicas"));
        let mut versions = versions.lock().unwrap_or_else(PoisonError::into_inner);
        let before = versions.iter().rfind(|before: &&Version| before.cluster == cluster && before.name == name);
        let is_order = before.is_none_or(|before| before.replicas != replicas);
        versions.push(Version {
            at: Instant::now(),
            cluster: cluster.clone(),
            name,
            uid: object.uid().unwrap_or_default(),
            gone,
            replicas,
            is_order,
            available: number("/status/availableReplicas"),
        });
    };
    let mut events = std::pin::pin!(watcher(api, Config::default()));
    loop {
        match events.try_next().await {
            Ok(Some(Event::InitApply(object) | Event::Apply(object))) => add(&object, false),
            Ok(Some(Event::Delete(object))) => add(&object, true),
            Ok(Some(Event::InitDone)) => drop(listed.send(true)),
            Ok(Some(Event::Init)) => {}
            Ok(None) => return,
            // The member is being disturbed. The watcher lists again without further action.
            Err(error) => eprintln!("history of {cluster}: {error}"),
        }
    }
}
