//! Objects of one kind in one member, with a log of their events.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

/// Maximum number of events kept for watches that begin in the past.
///
/// A watch from an older revision is answered with 410.
const KEPT: usize = 1024;

/// Namespace and name of an object.
pub(crate) type Key = (String, String);
type Labels = Arc<BTreeMap<String, String>>;

/// A stored object.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    /// JSON of the object.
    pub(crate) bytes: Bytes,
    pub(crate) labels: Labels,
    /// Configuration that the field manager applied last.
    pub(crate) applied: Option<Bytes>,
}

/// A change of an object; `before` and `after` are its labels.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) revision: u64,
    pub(crate) before: Option<Labels>,
    pub(crate) after: Option<Labels>,
    pub(crate) bytes: Bytes,
}

/// Objects of one kind, with a log of their events.
#[derive(Debug, Default)]
pub(crate) struct Collection {
    pub(crate) objects: BTreeMap<Key, Stored>,
    log: VecDeque<Event>,
    /// Revision of the newest event that was dropped from the log.
    forgotten: u64,
}

/// A selector of equalities and inequalities over labels and over the fields stored with them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selector(Vec<Term>);

#[derive(Debug, Clone)]
struct Term {
    key: String,
    equal: bool,
    value: String,
}

impl Selector {
    /// Parses both selectors of a request; an empty selector matches all objects.
    pub(crate) fn parse(labels: &str, fields: &str) -> Self {
        let term = |text: &str| {
            let (key, value) = text.split_once('=')?;
            let (key, equal) = key.strip_suffix('!').map_or((key, true), |key| (key, false));
            Some(Term { key: key.to_owned(), equal, value: value.to_owned() })
        };
        Self(labels.split(',').chain(fields.split(',')).filter_map(term).collect())
    }

    pub(crate) fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let is = |term: &Term| labels.get(&term.key).map_or("", String::as_str) == term.value;
        self.0.iter().all(|term| is(term) == term.equal)
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

    /// Returns the events after a revision, or nothing when the log no longer holds all of them.
    pub(crate) fn since(&self, revision: u64) -> Option<Vec<Event>> {
        if revision < self.forgotten {
            return None;
        }
        let from = self.log.partition_point(|event| event.revision <= revision);
        Some(self.log.range(from..).cloned().collect())
    }
}

/// Fields that selectors support, stored beside the labels; no label has one of these names.
const FIELDS: [(&str, &str); 3] =
    [("metadata.name", "/metadata/name"), ("spec.nodeName", "/spec/nodeName"), ("status.phase", "/status/phase")];

fn labels(object: &Value) -> BTreeMap<String, String> {
    let labels = object["metadata"]["labels"].as_object().into_iter().flatten();
    let fields =
        FIELDS.iter().filter_map(|(name, at)| Some(((*name).to_owned(), object.pointer(at)?.as_str()?.to_owned())));
    labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).chain(fields).collect()
}
