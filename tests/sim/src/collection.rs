//! Objects of one kind in one member, and the log of what happened to them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

/// Events kept for watches that begin in the past; an older beginning is answered with 410.
const KEPT: usize = 1024;

/// Namespace and name.
pub(crate) type Key = (String, String);
type Labels = Arc<BTreeMap<String, String>>;

/// One object as stored.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    /// Its JSON.
    pub(crate) bytes: Bytes,
    pub(crate) labels: Labels,
    /// What the manager applied last.
    pub(crate) applied: Option<Bytes>,
}

/// Something that happened to an object.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) revision: u64,
    pub(crate) before: Option<Labels>,
    pub(crate) after: Option<Labels>,
    pub(crate) bytes: Bytes,
}

/// Objects of one kind.
#[derive(Debug, Default)]
pub(crate) struct Collection {
    pub(crate) objects: BTreeMap<Key, Stored>,
    log: VecDeque<Event>,
    /// Revision of the newest event that was dropped from the log.
    forgotten: u64,
}

/// A label selector of equalities.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selector(Vec<(String, String)>);

impl Selector {
    pub(crate) fn parse(text: &str) -> Self {
        let equal = |term: &str| term.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
        Self(text.split(',').filter_map(equal).collect())
    }

    pub(crate) fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|(key, value)| labels.get(key) == Some(value))
    }
}

impl Collection {
    /// Stores an object under a revision.
    pub(crate) fn put(&mut self, key: Key, object: &Value, applied: Option<Bytes>, revision: u64) {
        let labels = Arc::new(labels(object));
        let bytes: Bytes = object.to_string().into();
        let stored = Stored { bytes: bytes.clone(), labels: Arc::clone(&labels), applied };
        let before = self.objects.insert(key, stored).map(|stored| stored.labels);
        self.remember(Event { revision, before, after: Some(labels), bytes });
    }

    /// Removes an object; its last state carries the revision of the removal.
    pub(crate) fn remove(&mut self, key: &Key, last: &Value, revision: u64) {
        if let Some(stored) = self.objects.remove(key) {
            self.remember(Event { revision, before: Some(stored.labels), after: None, bytes: last.to_string().into() });
        }
    }

    fn remember(&mut self, event: Event) {
        self.log.push_back(event);
        if self.log.len() > KEPT
            && let Some(oldest) = self.log.pop_front()
        {
            self.forgotten = oldest.revision;
        }
    }

    /// Events after a revision; nothing when some of them are forgotten.
    pub(crate) fn since(&self, revision: u64) -> Option<Vec<Event>> {
        if revision < self.forgotten {
            return None;
        }
        let from = self.log.partition_point(|event| event.revision <= revision);
        Some(self.log.range(from..).cloned().collect())
    }
}

fn labels(object: &Value) -> BTreeMap<String, String> {
    let labels = object["metadata"]["labels"].as_object().into_iter().flatten();
    labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}
