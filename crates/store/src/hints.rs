//! Hints that something changed, for stages of this process and of other processes.
//!
//! A hint only saves waiting; the rows contain the truth. A stage that missed hints reads everything again.
//!
//! A notification is a transaction that waits for the disk. A process without peers therefore sends only its sign of
//! life, an empty list.
//!
//! A process that receives the first notification of a peer sends [`Hint::Everything`], because the peer missed earlier
//! hints.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};
use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::CancellationToken;

use crate::exchange::{Exchange, ExchangeTimes};
use crate::peers::Peers;
use crate::{AppId, PlacementId, Store, StoreError};

/// Maximum number of hints kept for a slow subscriber.
///
/// A subscriber further behind receives a lag error and reads everything.
const BACKLOG: usize = 16 * 1024;
/// Maximum number of hints waiting to be sent to other processes.
///
/// When more are waiting, the other processes receive [`Hint::Everything`].
const OUTBOX: usize = 16 * 1024;
/// Maximum length of the text of one notification, in bytes; `PostgreSQL` accepts less than 8,000.
const NOTIFY_MAX: usize = 7_000;

/// A change in the database or in this process that a stage may act on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Hint {
    /// The intent of an application changed, or another input of its decision.
    Decide(AppId),
    /// Placement rows of clusters changed.
    ///
    /// Rows that were decided together are in one hint, however many clusters they concern.
    Deliver(BTreeMap<String, Vec<PlacementId>>),
    /// The observed status of an application's objects in the members changed.
    Observed(AppId),
    /// Another input of an application's status on the hub changed.
    Show(AppId),
    /// A cluster, a cell or a directive changed.
    Topology,
    /// The health of a cluster changed, or the kinds that it serves.
    Health(String),
    /// The capacity of a cluster changed.
    Capacity(String),
    /// The time of the last sign of life of a cluster changed.
    Seen(String),
    /// The credential or the connection of a cluster changed.
    Connection(String),
    /// The connection of this process to a member changed, or the reason why it cannot connect.
    Member(String),
    /// Intake's refusal of an Application changed: its status on the hub reports the reason.
    Refused {
        /// Namespace of the Application.
        namespace: String,
        /// Name of the object.
        name: String,
    },
    /// An application or a cluster was deleted from the database: intake may release its object on the hub.
    Forgotten {
        /// Namespace of the Application; empty for a cluster.
        namespace: String,
        /// Name of the object.
        name: String,
    },
    /// Placement rows were deleted: a cluster that is being removed may be empty now.
    Vacated,
    /// Anything may have changed: the listener was not connected for a while.
    Everything,
}

/// Sends hints to all processes, and subscribes to them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Hints {
    local: broadcast::Sender<Arc<Hint>>,
    outbox: mpsc::Sender<Arc<Hint>>,
    /// Whether hints did not fit into the outbox or could not be sent.
    ///
    /// `Exchange::tell` clears the flag when it sends [`Hint::Everything`] instead.
    missed: Arc<AtomicBool>,
}

impl Hints {
    /// Returns the hints of this process, and the task that exchanges them with other processes.
    ///
    /// The exchange uses the database of the store.
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

    /// Sends a hint to this process at once and to the other processes soon.
    pub fn send(&self, hint: Hint) {
        let hint = Arc::new(hint);
        // A missing subscriber is not an error: the stage does not run in this process.
        let _ = self.local.send(Arc::clone(&hint));
        if self.outbox.try_send(hint).is_err() {
            self.missed.store(true, Ordering::Relaxed);
        }
    }

    /// Returns a receiver of all hints from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Hint>> {
        self.local.subscribe()
    }
}

/// Parses the hints that another process sent.
///
/// A later version may send hints that this version does not have. They become [`Hint::Everything`], because they may
/// mean any change.
pub(crate) fn read_hints(text: &str) -> Vec<Hint> {
    let Ok(items) = serde_json::from_str::<Vec<serde_json::Value>>(text) else { return vec![Hint::Everything] };
    let mut hints: Vec<Hint> =
        items.into_iter().map(|item| serde_json::from_value(item).unwrap_or(Hint::Everything)).collect();
    if hints.contains(&Hint::Everything) {
        hints = vec![Hint::Everything];
    }
    hints
}

/// Returns a hint as JSON, split into parts where it is too long for one notification.
///
/// A hint that cannot be split becomes [`Hint::Everything`].
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

/// Returns JSON lists of hints, each short enough for one notification.
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
    fn unreadable_hint_means_everything() {
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
    fn hint_too_long_for_a_notification_is_split_or_everything() {
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
