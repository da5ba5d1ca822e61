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
