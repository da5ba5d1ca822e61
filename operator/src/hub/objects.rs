//! Cache of the hub's objects of one kind, followed by a watch.

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures::TryStreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::DeserializeGuard;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Resource, ResourceExt};
use runtime::keyed_debounce::KeyedDebounce;
use runtime::queue::Queue;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use vocabulary::AppKey;
use vocabulary::labels::FINALIZER;

/// Pause before all objects are listed again.
const AGAIN: Duration = Duration::from_millis(500);
/// Minimum interval between two intakes of one object because of changes.
///
/// The interval grows up to [`EACH_MOST`] for an object that is edited all the time. So such an object delays only
/// itself, and takes no other object's share of the hub, the database and the members.
const EACH: Duration = Duration::from_millis(100);
/// Maximum interval between two intakes of one object that is edited all the time.
const EACH_MOST: Duration = Duration::from_secs(1);

/// Objects of one kind as last received, by namespace (empty for cluster-scoped kinds) and name.
#[derive(Debug)]
pub(crate) struct Objects<K> {
    state: Arc<RwLock<State<K>>>,
    listed: Arc<watch::Sender<bool>>,
}

#[derive(Debug)]
struct State<K> {
    objects: HashMap<AppKey, Arc<K>>,
    unreadable: HashMap<AppKey, String>,
}

impl<K> Clone for Objects<K> {
    fn clone(&self) -> Self {
        Self { state: Arc::clone(&self.state), listed: Arc::clone(&self.listed) }
    }
}

impl<K> Default for Objects<K> {
    fn default() -> Self {
        let state = State { objects: HashMap::new(), unreadable: HashMap::new() };
        Self { state: Arc::new(RwLock::new(state)), listed: Arc::new(watch::Sender::new(false)) }
    }
}

impl<K> Objects<K> {
    /// Returns the last readable state of the object.
    pub(crate) fn get(&self, key: &AppKey) -> Option<Arc<K>> {
        self.read(|state| state.objects.get(key).cloned())
    }

    /// Returns why the present object of that name cannot be read; `None` where it can.
    pub(crate) fn unreadable(&self, key: &AppKey) -> Option<String> {
        self.read(|state| state.unreadable.get(key).cloned())
    }

    /// Returns whether all objects were listed once. From then on a missing object is missing on the hub.
    pub(crate) fn is_complete(&self) -> bool {
        *self.listed.borrow()
    }

    /// Completes when all objects were listed once.
    pub(crate) async fn completed(&self) {
        // The channel is never closed, because `self` owns the sender.
        let _ = self.listed.subscribe().wait_for(|listed| *listed).await;
    }

    /// Returns the keys of all objects, including those that cannot be read.
    pub(crate) fn keys(&self) -> Vec<AppKey> {
        self.read(|state| {
            let never_read = state.unreadable.keys().filter(|key| !state.objects.contains_key(*key));
            state.objects.keys().chain(never_read).cloned().collect()
        })
    }

    fn read<T>(&self, read: impl FnOnce(&State<K>) -> T) -> T {
        read(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, write: impl FnOnce(&mut State<K>) -> T) -> T {
        write(&mut self.state.write().unwrap_or_else(PoisonError::into_inner))
    }
}

fn key_of<K: Resource>(object: &K) -> AppKey {
    AppKey { namespace: object.namespace().unwrap_or_default(), name: object.name_any() }
}

/// Follows one kind until shutdown, and puts the key of each changed object into the queue.
///
/// An object that cannot be read is recorded as unreadable and never stops the watch.
pub(crate) async fn follow<K>(
    api: Api<DeserializeGuard<K>>,
    objects: Objects<K>,
    changed: Queue<AppKey>,
    shutdown: CancellationToken,
) -> Result<(), std::convert::Infallible>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    K::DynamicType: Default + Clone + Eq + std::hash::Hash + Send + Sync + 'static,
{
    follow_selected(api, watcher::Config::default(), objects, changed, shutdown).await
}

/// Follows the selected objects of one kind; see [`follow`].
pub(crate) async fn follow_selected<K>(
    api: Api<DeserializeGuard<K>>,
    selection: watcher::Config,
    objects: Objects<K>,
    changed: Queue<AppKey>,
    shutdown: CancellationToken,
) -> Result<(), std::convert::Infallible>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    K::DynamicType: Default + Clone + Eq + std::hash::Hash + Send + Sync + 'static,
{
    let begin = || watcher::watcher(api.clone(), selection.clone()).default_backoff();
    let events = begin();
    tokio::pin!(events);
    let mut seen: HashSet<AppKey> = HashSet::new();
    let mut edits = KeyedDebounce::new(EACH, EACH_MOST);
    loop {
        let event = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            event = events.try_next() => event,
        };
        match event {
            Ok(Some(Event::Init)) => seen.clear(),
            Ok(Some(Event::InitApply(object))) => {
                seen.insert(key_of(&object));
                changed.extend(take(&objects, object));
            }
            Ok(Some(Event::InitDone)) => {
                let gone = objects.write(|state| {
                    let gone: Vec<AppKey> = state.objects.keys().filter(|key| !seen.contains(*key)).cloned().collect();
                    for key in &gone {
                        state.objects.remove(key);
                    }
                    state.unreadable.retain(|key, _| seen.contains(key));
                    gone
                });
                objects.listed.send_replace(true);
                changed.extend(gone);
            }
            Ok(Some(Event::Apply(object))) => {
                if let Some(key) = take(&objects, object) {
                    let wait = edits.wait(key.clone());
                    changed.push_after(key, wait);
                }
            }
            Ok(Some(Event::Delete(object))) => {
                let key = key_of(&object);
                objects.write(|state| {
                    state.objects.remove(&key);
                    state.unreadable.remove(&key);
                });
                changed.push(key);
            }
            Ok(None) => return Ok(()),
            // The stream continues by itself after a pause.
            Err(error) => {
                tracing::warn!(kind = std::any::type_name::<K>(), %error, "hub watch interrupted");
                if matches!(error, watcher::Error::WatchStartFailed(_)) {
                    // The hub was unavailable, and its store may have been restored meanwhile. A watch that resumes
                    // from a version of a lost history would receive no events. So all objects are listed again.
                    events.set(begin());
                    tokio::select! { () = shutdown.cancelled() => return Ok(()), () = tokio::time::sleep(AGAIN) => {} }
                }
            }
        }
    }
}

/// Stores the present state of an object. Returns its key when intake has to process it.
fn take<K: Resource>(objects: &Objects<K>, object: DeserializeGuard<K>) -> Option<AppKey>
where
    K::DynamicType: Default,
    DeserializeGuard<K>: Resource,
{
    let key = key_of(&object);
    let news = objects.write(|state| match object.0 {
        Ok(object) => {
            let could_not_be_read = state.unreadable.remove(&key).is_some();
            let object = Arc::new(object);
            let before = state.objects.insert(key.clone(), Arc::clone(&object));
            could_not_be_read || before.is_none_or(|before| !says_the_same(before.meta(), object.meta()))
        }
        Err(error) => {
            state.unreadable.insert(key.clone(), error.error);
            true
        }
    });
    news.then_some(key)
}

/// Returns whether an event carries no change for intake.
///
/// An event carries none when only status changed, or our finalizer was added. The operator itself makes most of these
/// changes. For kinds without a generation the result is always `false`. A lower version always counts as a change,
/// because the hub's store went back.
fn says_the_same(before: &ObjectMeta, now: &ObjectMeta) -> bool {
    let said = |meta: &ObjectMeta| ObjectMeta { resource_version: None, managed_fields: None, ..meta.clone() };
    let ours = |meta: &ObjectMeta| meta.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER);
    let version = |meta: &ObjectMeta| meta.resource_version.as_deref()?.parse::<i64>().ok();
    let went_back = matches!((version(before), version(now)), (Some(before), Some(now)) if now < before);
    let mut before = said(before);
    if ours(now) && !ours(&before) {
        before.finalizers.get_or_insert_default().push(FINALIZER.to_owned());
    }
    now.generation.is_some() && !went_back && before == said(now)
}

#[cfg(test)]
mod tests {
    use crds::PlacementPolicy;
    use serde_json::json;

    use super::*;

    #[test]
    fn unreadable_object_is_kept_with_its_reason() {
        let objects = Objects::<PlacementPolicy>::default();
        let take = |spec: serde_json::Value| {
            let object = json!({
                "apiVersion": "fleet.meridian.io/v1alpha1", "kind": "PlacementPolicy",
                "metadata": {"name": "even", "namespace": "shop", "generation": 1}, "spec": spec,
            });
            super::take::<PlacementPolicy>(&objects, serde_json::from_value(object).unwrap())
        };
        let key = AppKey { namespace: "shop".to_owned(), name: "even".to_owned() };
        assert_eq!(take(json!({"later": true})), Some(key.clone()));
        assert!(objects.get(&key).is_none() && objects.unreadable(&key).unwrap().contains("later"));
        assert_eq!(objects.keys(), std::slice::from_ref(&key));
        assert_eq!(take(json!({})), Some(key.clone()));
        assert!(objects.get(&key).is_some() && objects.unreadable(&key).is_none());
        take(json!({"later": true}));
        assert!(objects.get(&key).is_some() && objects.unreadable(&key).is_some(), "what was read last stays known");
        assert_eq!(objects.keys(), [key]);
    }

    #[test]
    fn status_and_our_finalizer_are_no_news_and_everything_else_is() {
        let meta = |version: &str, generation: i64, finalizers: &[&str]| ObjectMeta {
            name: Some("web".to_owned()),
            resource_version: Some(version.to_owned()),
            generation: Some(generation),
            finalizers: (!finalizers.is_empty()).then(|| finalizers.iter().map(|&one| one.to_owned()).collect()),
            ..ObjectMeta::default()
        };
        let labelled = ObjectMeta { labels: Some([("a".to_owned(), "b".to_owned())].into()), ..meta("2", 1, &[]) };
        let gone = ObjectMeta { generation: None, ..meta("1", 1, &[]) };
        for (before, now, same) in [
            (meta("1", 1, &[]), meta("2", 1, &[]), true),
            (meta("1", 1, &[]), meta("2", 1, &[FINALIZER]), true),
            (meta("1", 1, &["other"]), meta("2", 1, &["other", FINALIZER]), true),
            (meta("1", 1, &[FINALIZER]), meta("2", 1, &[]), false),
            (meta("1", 1, &[]), meta("2", 1, &["other"]), false),
            (meta("1", 1, &[]), meta("2", 2, &[]), false),
            (meta("1", 1, &[]), labelled, false),
            (meta("2", 1, &[]), meta("1", 1, &[]), false),
            (gone.clone(), gone, false),
        ] {
            assert_eq!(says_the_same(&before, &now), same, "{before:?} to {now:?}");
        }
    }
}
