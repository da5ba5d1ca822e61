//! Hints that something changed, within the process and to the other ones.
//!
//! A hint saves waiting and is never the truth: a stage that missed some reads everything again.
//!
//! A notification is a transaction that waits for the disk, so a process that is alone sends none but its own sign of life,
//! an empty list. Who hears a process for the first time tells it to read everything: before that, nothing was sent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};
use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::CancellationToken;

use crate::exchange::{Exchange, ExchangeTimes};
use crate::peers::Peers;
use crate::{AppId, PlacementId, Store, StoreError};

/// Hints kept for a slow subscriber; one that falls behind further is told to read everything.
const BACKLOG: usize = 16 * 1024;
/// Hints waiting to be sent to other processes; beyond this they are told to read everything.
const OUTBOX: usize = 16 * 1024;
/// Largest text sent in one notification; Postgres takes less than 8,000 bytes.
const NOTIFY_MAX: usize = 7_000;

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Hint {
    /// An application's intent, or something its decision depends on.
    Decide(AppId),
    /// Placement rows of some clusters: what was decided together is told together, however many clusters it concerns.
    Deliver(BTreeMap<String, Vec<PlacementId>>),
    /// What is known of an application's objects in the members.
    Observed(AppId),
    /// What else an application's status is made of.
    Show(AppId),
    /// A cluster, a cell or a directive.
    Topology,
    /// A cluster's health, or the kinds it serves.
    Health(String),
    /// A cluster's capacity.
    Capacity(String),
    /// A cluster's last sign of life.
    Seen(String),
    /// A cluster's credential or connection.
    Connection(String),
    /// This process can talk to a member now, or in another way than before.
    Member(String),
    /// An object that was never taken in is refused: its status on the hub says why.
    Refused {
        /// Namespace.
        namespace: String,
        /// Name.
        name: String,
    },
    /// An application or a cluster is forgotten: its object on the hub may go.
    Forgotten {
        /// Namespace; empty for a cluster.
        namespace: String,
        /// Name.
        name: String,
    },
    /// Placements were forgotten: a cluster that is being removed may hold nothing now.
    Vacated,
    /// Anything: the listener was not connected for a while.
    Everything,
}

/// Sends and receives hints. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Hints {
    local: broadcast::Sender<Arc<Hint>>,
    outbox: mpsc::Sender<Arc<Hint>>,
    /// Some did not fit into the outbox or could not be sent.
    missed: Arc<AtomicBool>,
}

impl Hints {
    /// Hints of this process, and the task that exchanges them with other processes over the store's database.
    pub fn new(store: Store, shutdown: CancellationToken) -> (Self, impl Future<Output = Result<(), StoreError>>) {
        Self::with_times(store, ExchangeTimes::default(), shutdown)
    }

    pub(crate) fn with_times(
        store: Store,
        times: ExchangeTimes,
        shutdown: CancellationToken,
    ) -> (Self, impl Future<Output = Result<(), StoreError>>) {
        let (local, _) = broadcast::channel(BACKLOG);
        let (outbox, waiting) = mpsc::channel(OUTBOX);
        let missed = Arc::new(AtomicBool::new(false));
        let exchange = Exchange {
            store,
            me: uuid::Uuid::new_v4().simple().to_string(),
            local: local.clone(),
            waiting,
            missed: Arc::clone(&missed),
            peers: Peers::default(),
            times,
        };
        (Self { local, outbox, missed }, exchange.run(shutdown))
    }

    /// Tells this process at once and the others soon.
    pub fn send(&self, hint: Hint) {
        let hint = Arc::new(hint);
        // No subscriber is no error: the stage is not running here.
        let _ = self.local.send(Arc::clone(&hint));
        if self.outbox.try_send(hint).is_err() {
            self.missed.store(true, Ordering::Relaxed);
        }
    }

    /// Hints from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Hint>> {
        self.local.subscribe()
    }
}

/// Hints that another process sent. A later version may know hints that this one does not: those may mean anything.
pub(crate) fn read_hints(text: &str) -> Vec<Hint> {
    let Ok(items) = serde_json::from_str::<Vec<serde_json::Value>>(text) else { return vec![Hint::Everything] };
    let mut hints: Vec<Hint> =
        items.into_iter().map(|item| serde_json::from_value(item).unwrap_or(Hint::Everything)).collect();
    if hints.contains(&Hint::Everything) {
        hints = vec![Hint::Everything];
    }
    hints
}

/// A hint as JSON, in parts where it is too long for one notification.
fn items(hint: &Hint) -> Vec<String> {
    let json = |hint: &Hint| serde_json::to_string(hint).expect("hints are plain data");
    let item = json(hint);
    if item.len() <= NOTIFY_MAX {
        return vec![item];
    }
    match hint {
        Hint::Deliver(clusters) if clusters.len() > 1 => {
            let mut first = clusters.clone();
            let middle = clusters.keys().nth(clusters.len() / 2).expect("it is within the map").clone();
            let second = first.split_off(&middle);
            [first, second].into_iter().flat_map(|half| items(&Hint::Deliver(half))).collect()
        }
        _ => vec![json(&Hint::Everything)],
    }
}

/// JSON lists of hints, each short enough for one notification.
pub(crate) fn texts(hints: &BTreeSet<Arc<Hint>>) -> Vec<String> {
    let mut texts = Vec::new();
    let mut current = String::new();
    for item in hints.iter().flat_map(|hint| items(hint)) {
        if !current.is_empty() && current.len() + item.len() > NOTIFY_MAX {
            texts.push(format!("[{}]", std::mem::take(&mut current)));
        }
        if !current.is_empty() {
            current.push(',');
        }
        current.push_str(&item);
    }
    if !current.is_empty() {
        texts.push(format!("[{current}]"));
    }
    texts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_understood_means_everything() {
        for (case, text, read) in [
            ("nothing", "[]", vec![]),
            ("known", r#"["Topology",{"Decide":7}]"#, vec![Hint::Topology, Hint::Decide(7)]),
            ("unknown variant", r#"["Topology",{"Operation":7}]"#, vec![Hint::Everything]),
            ("known variant of another shape", r#"[{"Decide":"seven"}]"#, vec![Hint::Everything]),
            ("no list", "Topology", vec![Hint::Everything]),
        ] {
            assert_eq!(read_hints(text), read, "{case}");
        }
    }

    #[test]
    fn what_is_too_long_for_one_notification_is_told_in_parts_or_as_everything() {
        let deliver = |clusters: usize, rows: i64| {
            Hint::Deliver((0..clusters).map(|number| (format!("cluster-{number:04}"), (0..rows).collect())).collect())
        };
        let told = |hint: Hint| -> Vec<Hint> {
            let texts = texts(&BTreeSet::from([Arc::new(hint)]));
            assert!(texts.iter().all(|text| text.len() <= NOTIFY_MAX + "[]".len()), "Postgres takes it");
            texts.iter().flat_map(|text| serde_json::from_str::<Vec<Hint>>(text).unwrap()).collect()
        };
        assert_eq!(told(deliver(3, 2)), [deliver(3, 2)]);
        let mut parts = BTreeMap::new();
        for part in told(deliver(1_000, 4)) {
            let Hint::Deliver(clusters) = part else { panic!("{part:?}") };
            parts.extend(clusters);
        }
        assert_eq!(Hint::Deliver(parts), deliver(1_000, 4));
        assert_eq!(told(deliver(1, 10_000)), [Hint::Everything]);
    }
}
