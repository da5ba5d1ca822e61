//! One simulated member: its objects, and the effects of requests on them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;
use vocabulary::{FIELD_MANAGER, labels};

use crate::answers::{KINDS, Kind};
use crate::collection::{Collection, Event, Key, Selector};
use crate::{apply, workload};

/// Delay from a Deployment's change until its status shows all replicas as available.
const WORKED_OUT_AFTER: Duration = Duration::from_millis(10);
const NODES: usize = 3;

/// Refusal of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status code.
    pub code: u16,
    /// Reason in the API's vocabulary.
    pub reason: &'static str,
    /// Explanation of the refusal.
    pub message: String,
}

impl Refusal {
    pub(crate) fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into() }
    }

    fn not_found(name: &str) -> Self {
        Self::new(404, "NotFound", format!("{name} not found"))
    }
}

/// A write that the member accepted.
#[derive(Debug, Clone)]
pub struct Applied {
    /// Name of the object.
    pub name: String,
    /// Fence annotation of the object.
    pub fence: String,
    /// Time at which the member stored the write.
    pub at: SystemTime,
}

#[derive(Debug)]
struct State {
    revision: u64,
    collections: HashMap<&'static str, Collection>,
    writes: Vec<Applied>,
}

/// One simulated member. All clones share the same state.
#[derive(Debug, Clone)]
pub struct Member {
    name: String,
    state: Arc<Mutex<State>>,
    /// The newest revision; watches wait for its change.
    newest: Arc<watch::Sender<u64>>,
}

/// One page of a list: items, the revision of the member, and the key after which the next page begins.
pub(crate) type Page = (Vec<Bytes>, u64, Option<Key>);

impl Member {
    /// Creates a member with its nodes and system namespaces in one zone.
    pub fn new(name: &str, zone: &str) -> Self {
        let collections = KINDS.iter().map(|kind| (kind.plural, Collection::default())).collect();
        let member = Self {
            name: name.to_owned(),
            state: Arc::new(Mutex::new(State { revision: 0, collections, writes: Vec::new() })),
            newest: Arc::new(watch::channel(0).0),
        };
        let namespace = |name: &str| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}, "status": {"phase": "Active"}});
        member.store("namespaces", namespace("kube-system"));
        member.store("namespaces", namespace("default"));
        for number in 0..NODES {
            member.store("nodes", workload::node(&format!("{name}-{number}"), zone));
        }
        member
    }

    /// Returns the UID of the kube-system namespace.
    pub fn uid(&self) -> String {
        format!("simulated-{}", self.name)
    }

    /// Returns and forgets the applies, merge patches and deletions accepted since the last call.
    pub fn take_writes(&self) -> Vec<Applied> {
        std::mem::take(&mut self.state.lock().writes)
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// Stores a new object without any checks.
    fn store(&self, plural: &'static str, mut object: Value) {
        let mut state = self.state.lock();
        let uid = if object["metadata"]["name"] == "kube-system" { Some(self.uid()) } else { None };
        let revision = state.next();
        identify(&mut object, &self.name, revision, uid);
        state.put(plural, &object, None, revision);
        drop(state);
        self.newest.send_replace(revision);
    }

    pub(crate) fn get(&self, kind: Kind, key: &Key) -> Result<Bytes, Refusal> {
        let state = self.state.lock();
        let found = state.collection(kind).and_then(|collection| collection.objects.get(key));
        found.map(|stored| stored.bytes.clone()).ok_or_else(|| Refusal::not_found(&key.1))
    }

    pub(crate) fn list(&self, kind: Kind, selector: &Selector, after: Option<&Key>, limit: usize) -> Page {
        use std::ops::Bound::{Excluded, Unbounded};
        let state = self.state.lock();
        let Some(collection) = state.collection(kind) else { return (Vec::new(), state.revision, None) };
        let mut items = Vec::new();
        let mut next = None;
        let from = after.map_or(Unbounded, Excluded);
        let matching = collection
            .objects
            .range::<Key, _>((from, Unbounded))
            .filter(|(_, stored)| selector.matches(&stored.labels));
        let mut last = None;
        for (key, stored) in matching {
            if items.len() == limit {
                next = last;
                break;
            }
            items.push(stored.bytes.clone());
            last = Some(key.clone());
        }
        (items, state.revision, next)
    }

    /// Returns the events after a revision, and the newest revision.
    pub(crate) fn since(&self, kind: Kind, revision: u64) -> Option<(Vec<Event>, u64)> {
        let state = self.state.lock();
        Some((state.collection(kind)?.since(revision)?, state.revision))
    }

    pub(crate) fn create(&self, kind: Kind, mut object: Value) -> Result<Bytes, Refusal> {
        let key = key_of(&object);
        let mut state = self.state.lock();
        if state.collection(kind).is_some_and(|collection| collection.objects.contains_key(&key)) {
            return Err(Refusal::new(409, "AlreadyExists", format!("{} already exists", key.1)));
        }
        let revision = state.next();
        identify(&mut object, &self.name, revision, None);
        let bytes = state.put(kind.plural, &object, None, revision);
        drop(state);
        self.newest.send_replace(revision);
        Ok(bytes)
    }

    /// Applies a configuration by server-side apply, for the one field manager.
    pub(crate) fn apply(&self, kind: Kind, key: &Key, new: &Value) -> Result<Bytes, Refusal> {
        let mut state = self.state.lock();
        let before = state.collection(kind).and_then(|collection| collection.objects.get(key)).cloned();
        let mut object = before.as_ref().map_or(json!({}), |stored| read(&stored.bytes));
        let old = before.as_ref().and_then(|stored| stored.applied.as_ref()).map_or(Value::Null, read);
        if before.is_some() {
            holds(&object, &new["metadata"])?;
        }
        fence_rises(&object, new)?;
        let spec = object["spec"].clone();
        apply::apply(&mut object, &old, new);
        let revision = state.next();
        if before.is_none() {
            identify(&mut object, &self.name, revision, None);
            object["metadata"]["namespace"] = key.0.clone().into();
        } else if spec != object["spec"] {
            let generation = object["metadata"]["generation"].as_i64().unwrap_or_default();
            object["metadata"]["generation"] = (generation + 1).into();
        }
        object["metadata"]["managedFields"] = json!([{
            "manager": FIELD_MANAGER, "operation": "Apply", "apiVersion": kind.api_version(), "fieldsType": "FieldsV1",
            "fieldsV1": apply::fields(new),
        }]);
        object["metadata"]["resourceVersion"] = revision.to_string().into();
        state.note(&object);
        let bytes = state.put(kind.plural, &object, Some(new.to_string().into()), revision);
        drop(state);
        self.newest.send_replace(revision);
        if kind.plural == "deployments" {
            self.work_out(kind, key.clone());
        }
        Ok(bytes)
    }

    /// Applies a merge patch whose metadata contains preconditions.
    pub(crate) fn merge(&self, kind: Kind, key: &Key, patch: &Value) -> Result<Bytes, Refusal> {
        let mut state = self.state.lock();
        let stored = state.collection(kind).and_then(|collection| collection.objects.get(key)).cloned();
        let stored = stored.ok_or_else(|| Refusal::not_found(&key.1))?;
        let mut object = read(&stored.bytes);
        holds(&object, &patch["metadata"])?;
        apply::merge(&mut object, patch);
        let revision = state.next();
        object["metadata"]["resourceVersion"] = revision.to_string().into();
        state.note(&object);
        let bytes = state.put(kind.plural, &object, stored.applied, revision);
        drop(state);
        self.newest.send_replace(revision);
        Ok(bytes)
    }

    pub(crate) fn delete(&self, kind: Kind, key: &Key, preconditions: &Value) -> Result<(), Refusal> {
        let mut state = self.state.lock();
        let stored = state.collection(kind).and_then(|collection| collection.objects.get(key)).cloned();
        let stored = stored.ok_or_else(|| Refusal::not_found(&key.1))?;
        let mut object = read(&stored.bytes);
        holds(&object, preconditions)?;
        state.note(&object);
        let pods = if kind.plural == "deployments" { workload::replicas(&object) } else { 0 };
        let mut revision = state.remove(kind.plural, key, &mut object);
        for number in 0..pods {
            let pod = (key.0.clone(), format!("{}-{number}", key.1));
            revision = state.remove("pods", &pod, &mut json!({"metadata": {"name": pod.1, "namespace": pod.0}}));
        }
        drop(state);
        self.newest.send_replace(revision);
        Ok(())
    }

    /// Updates status and pods of a Deployment a moment later, as a member's controllers would.
    fn work_out(&self, kind: Kind, key: Key) {
        let member = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(WORKED_OUT_AFTER).await;
            let mut state = member.state.lock();
            let Some(stored) = state.collection(kind).and_then(|all| all.objects.get(&key)).cloned() else { return };
            let mut object = read(&stored.bytes);
            let status = workload::status(&object);
            if object["status"] == status {
                return;
            }
            let (had, has) = (object["status"]["replicas"].as_i64().unwrap_or(0), workload::replicas(&object));
            let mut revision = state.revision;
            for number in had..has {
                revision = state.next();
                let node = format!("{}-{}", member.name, number as usize % NODES);
                let mut pod = workload::pod(&object, number, &node);
                identify(&mut pod, &member.name, revision, None);
                state.put("pods", &pod, None, revision);
            }
            for number in has..had {
                let pod = (key.0.clone(), format!("{}-{number}", key.1));
                revision = state.remove("pods", &pod, &mut json!({"metadata": {"name": pod.1, "namespace": pod.0}}));
            }
            object["status"] = status;
            revision = revision.max(state.next());
            object["metadata"]["resourceVersion"] = revision.to_string().into();
            state.put(kind.plural, &object, stored.applied, revision);
            drop(state);
            member.newest.send_replace(revision);
        });
    }
}

impl State {
    fn next(&mut self) -> u64 {
        self.revision += 1;
        self.revision
    }

    fn collection(&self, kind: Kind) -> Option<&Collection> {
        self.collections.get(kind.plural)
    }

    fn put(&mut self, plural: &'static str, object: &Value, applied: Option<Bytes>, revision: u64) -> Bytes {
        let key = key_of(object);
        let collection = self.collections.entry(plural).or_default();
        collection.put(key.clone(), object, applied, revision);
        collection.objects.get(&key).map(|stored| stored.bytes.clone()).unwrap_or_default()
    }

    fn remove(&mut self, plural: &'static str, key: &Key, last: &mut Value) -> u64 {
        let revision = self.next();
        last["metadata"]["resourceVersion"] = revision.to_string().into();
        self.collections.entry(plural).or_default().remove(key, last, revision);
        revision
    }

    fn note(&mut self, object: &Value) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        self.writes.push(Applied {
            name: text(&object["metadata"]["name"]),
            fence: text(&object["metadata"]["annotations"][labels::FENCE]),
            at: SystemTime::now(),
        });
    }
}

fn read(bytes: &Bytes) -> Value {
    serde_json::from_slice(bytes).unwrap_or_default()
}

fn key_of(object: &Value) -> Key {
    let text = |name: &str| object["metadata"][name].as_str().unwrap_or_default().to_owned();
    (text("namespace"), text("name"))
}

fn identify(object: &mut Value, member: &str, revision: u64, uid: Option<String>) {
    let metadata = &mut object["metadata"];
    metadata["uid"] = uid.unwrap_or_else(|| format!("{member}-{revision}")).into();
    metadata["resourceVersion"] = revision.to_string().into();
    metadata["generation"] = 1.into();
    metadata["creationTimestamp"] = "2026-01-01T00:00:00Z".into();
}

/// Refuses a lower fence, as the fence policy of a real member does.
fn fence_rises(object: &Value, new: &Value) -> Result<(), Refusal> {
    let fence = |object: &Value| object["metadata"]["annotations"][labels::FENCE].as_str().map(str::to_owned);
    match (fence(object), fence(new)) {
        (Some(before), Some(now)) if now < before => Err(Refusal::new(
            422,
            "Invalid",
            format!(
                "ValidatingAdmissionPolicy '{}' denied request: stale write: fence {now} is below {before}",
                members::install::POLICY_NAME
            ),
        )),
        _ => Ok(()),
    }
}

fn holds(object: &Value, wanted: &Value) -> Result<(), Refusal> {
    for field in ["uid", "resourceVersion"] {
        if let Some(wanted) = wanted[field].as_str()
            && object["metadata"][field] != wanted
        {
            return Err(Refusal::new(409, "Conflict", format!("metadata.{field} is not {wanted}")));
        }
    }
    Ok(())
}
