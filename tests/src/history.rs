//! Every version of member objects while something happens: the ground of "at no time".

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

/// Watches of several members do not arrive in one order. A sum over members that is too low for a shorter time than a
/// simulated pod needs to start is that, and not a replica that was given up.
const OUT_OF_ORDER: Duration = Duration::from_millis(100);

/// One version of an object in one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// When it arrived here.
    pub at: Instant,
    /// Member.
    pub cluster: String,
    /// Name.
    pub name: String,
    /// UID: another one is another object.
    pub uid: String,
    /// It was deleted.
    pub gone: bool,
    /// `spec.replicas`, 0 where there are none or the object is gone.
    pub told: i64,
    /// What it is told differs from the version before.
    pub is_order: bool,
    /// `status.availableReplicas`, 0 where there are none or the object is gone.
    pub available: i64,
}

/// Versions of all objects of one kind in one namespace of several members, from its start on.
#[derive(Debug)]
pub struct History {
    versions: Arc<Mutex<Vec<Version>>>,
    tasks: Vec<JoinHandle<()>>,
}

impl History {
    /// Follows a kind, given as in `apps/v1/Deployment` or `v1/Secret`. What is there already is its first version.
    ///
    /// # Errors
    /// When a member cannot be watched.
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

    /// All versions so far, in the order in which they arrived.
    pub fn versions(&self) -> Vec<Version> {
        self.versions.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The last version of each object, by member and name.
    pub fn now(&self) -> BTreeMap<(String, String), Version> {
        let named = |version: Version| ((version.cluster.clone(), version.name.clone()), version);
        self.versions().into_iter().map(named).collect()
    }

    /// What was recorded so far of the objects of one name.
    #[must_use]
    pub fn of(&self, name: &str) -> Self {
        let versions = self.versions().into_iter().filter(|version| version.name == name).collect();
        Self { versions: Arc::new(Mutex::new(versions)), tasks: Vec::new() }
    }

    /// Every object was told numbers that only rise.
    ///
    /// # Errors
    /// Naming the object and its numbers.
    pub fn replicas_never_fall(&self) -> anyhow::Result<()> {
        self.replicas(|before, after| after >= before, "fell")
    }

    /// Every object was told numbers that only fall.
    ///
    /// # Errors
    /// Naming the object and its numbers.
    pub fn replicas_never_rise(&self) -> anyhow::Result<()> {
        self.replicas(|before, after| after <= before, "rose")
    }

    fn replicas(&self, allowed: impl Fn(i64, i64) -> bool, what: &str) -> anyhow::Result<()> {
        let mut told: BTreeMap<(String, String), Vec<i64>> = BTreeMap::new();
        for version in self.versions() {
            told.entry((version.cluster, version.name)).or_default().push(version.told);
        }
        ensure!(!told.is_empty(), "no object was seen");
        for ((cluster, name), mut numbers) in told {
            numbers.dedup();
            ensure!(
                numbers.is_sorted_by(|before, after| allowed(*before, *after)),
                "{name} in {cluster} {what}: {numbers:?}"
            );
        }
        Ok(())
    }

    /// The sum of available replicas over members was never below what was wanted for longer than watches are apart.
    ///
    /// # Errors
    /// Naming the sum, how long it lasted and where the replicas were.
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
            // The first list of each member arrives by itself.
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

    /// How many different objects of a name there were in a member, one after the other or at once.
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
        let (name, told) = (object.name_any(), number("/spec/replicas"));
        let mut versions = versions.lock().unwrap_or_else(PoisonError::into_inner);
        let before = versions.iter().rfind(|before: &&Version| before.cluster == cluster && before.name == name);
        let is_order = before.is_none_or(|before| before.told != told);
        versions.push(Version {
            at: Instant::now(),
            cluster: cluster.clone(),
            name,
            uid: object.uid().unwrap_or_default(),
            gone,
            told,
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
            // The member is being disturbed; the watcher lists again by itself.
            Err(error) => eprintln!("history of {cluster}: {error}"),
        }
    }
}
