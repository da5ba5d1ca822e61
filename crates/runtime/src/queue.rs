//! A work queue of keys: each key waits at most once, runs on at most one worker, and may be due later.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// Pause after the first failure of a key; doubles with every further failure of the same key.
const RETRY_FIRST: Duration = Duration::from_millis(100);
/// Maximum pause after a failure.
const RETRY_MOST: Duration = Duration::from_secs(30);

/// A queue of keys; clones share the same queue.
///
/// # Guarantees
/// - A key pushed many times before it is taken is taken once.
/// - A taken key is not taken again before it is [finished](Queue::finish) or [failed](Queue::fail). A key pushed
///   meanwhile is due at once after that.
/// - Memory is bounded by the number of distinct keys.
#[derive(Debug)]
pub struct Queue<K>(Arc<Shared<K>>);

#[derive(Debug)]
struct Shared<K> {
    state: Mutex<State<K>>,
    wake: Notify,
}

#[derive(Debug)]
struct State<K> {
    ready: VecDeque<K>,
    waiting: HashSet<K>,
    running: HashSet<K>,
    again: HashSet<K>,
    later: BTreeMap<(Instant, u64), K>,
    due_of: HashMap<K, (Instant, u64)>,
    failures: HashMap<K, u32>,
    sequence: u64,
}

impl<K> Clone for Queue<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: Clone + Eq + Hash> Default for Queue<K> {
    fn default() -> Self {
        Self(Arc::new(Shared {
            state: Mutex::new(State {
                ready: VecDeque::new(),
                waiting: HashSet::new(),
                running: HashSet::new(),
                again: HashSet::new(),
                later: BTreeMap::new(),
                due_of: HashMap::new(),
                failures: HashMap::new(),
                sequence: 0,
            }),
            wake: Notify::new(),
        }))
    }
}

impl<K: Clone + Eq + Hash> Queue<K> {
    fn state(&self) -> MutexGuard<'_, State<K>> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a key due now.
    pub fn push(&self, key: K) {
        self.state().push(key);
        self.0.wake.notify_one();
    }

    /// Makes many keys due now.
    pub fn extend(&self, keys: impl IntoIterator<Item = K>) {
        let mut state = self.state();
        keys.into_iter().for_each(|key| state.push(key));
        drop(state);
        self.0.wake.notify_one();
    }

    /// Makes a key due after `pause`, unless it is due sooner.
    pub fn push_after(&self, key: K, pause: Duration) {
        self.state().push_at(key, Instant::now() + pause);
        self.0.wake.notify_one();
    }

    /// Takes up to `most` keys that are due, and waits until there is at least one.
    ///
    /// # Cancel safety
    /// Cancel safe: no key is taken unless it is returned.
    pub async fn take(&self, most: usize) -> Vec<K> {
        loop {
            let woken = self.0.wake.notified();
            let next_due = {
                let mut state = self.state();
                let taken = state.take(most, Instant::now());
                if !taken.is_empty() {
                    if !state.ready.is_empty() {
                        self.0.wake.notify_one();
                    }
                    return taken;
                }
                state.later.first_key_value().map(|((at, _), _)| *at)
            };
            match next_due {
                Some(at) => tokio::select! { () = woken => {}, () = tokio::time::sleep_until(at) => {} },
                None => woken.await,
            }
        }
    }

    /// Ends work on a key that succeeded, and resets its pause.
    pub fn finish(&self, key: &K) {
        let mut state = self.state();
        state.failures.remove(key);
        if state.end(key) {
            drop(state);
            self.0.wake.notify_one();
        }
    }

    /// Ends work on a key that failed, and returns the number of its failures in a row, this one included.
    ///
    /// The key is due again after a pause that doubles with every failure in a row.
    pub fn fail(&self, key: &K) -> u32 {
        let mut state = self.state();
        let failures = state.failures.entry(key.clone()).or_insert(0);
        *failures += 1;
        let count = *failures;
        let pause = RETRY_FIRST.saturating_mul(1 << (count - 1).min(16)).min(RETRY_MOST);
        state.end(key);
        state.push_at(key.clone(), Instant::now() + pause);
        drop(state);
        self.0.wake.notify_one();
        count
    }

    /// Returns the number of keys that are due, will be due or are being worked on.
    pub fn depth(&self) -> usize {
        let state = self.state();
        state.ready.len() + state.running.len() + state.later.len()
    }
}

impl<K: Clone + Eq + Hash> State<K> {
    fn push(&mut self, key: K) {
        if self.running.contains(&key) {
            self.again.insert(key);
            return;
        }
        if let Some(at) = self.due_of.remove(&key) {
            self.later.remove(&at);
        }
        if self.waiting.insert(key.clone()) {
            self.ready.push_back(key);
        }
    }

    fn push_at(&mut self, key: K, at: Instant) {
        if self.waiting.contains(&key) || self.due_of.get(&key).is_some_and(|(due, _)| *due <= at) {
            return;
        }
        if let Some(before) = self.due_of.remove(&key) {
            self.later.remove(&before);
        }
        self.sequence += 1;
        let slot = (at, self.sequence);
        self.due_of.insert(key.clone(), slot);
        self.later.insert(slot, key);
    }

    fn take(&mut self, most: usize, now: Instant) -> Vec<K> {
        while let Some(entry) = self.later.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let key = entry.remove();
            self.due_of.remove(&key);
            if self.running.contains(&key) {
                self.again.insert(key);
            } else if self.waiting.insert(key.clone()) {
                self.ready.push_back(key);
            }
        }
        let count = most.min(self.ready.len());
        let taken: Vec<K> = self.ready.drain(..count).collect();
        for key in &taken {
            self.waiting.remove(key);
            self.running.insert(key.clone());
        }
        taken
    }

    /// Ends work on a key. Returns whether it is due again.
    fn end(&mut self, key: &K) -> bool {
        self.running.remove(key);
        let again = self.again.remove(key);
        if again {
            self.push(key.clone());
        }
        again
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_key_waits_once_and_runs_once_at_a_time() {
        let queue = Queue::default();
        queue.extend(["a", "b", "a"]);
        assert_eq!(queue.take(9).await, ["a", "b"]);
        queue.push("a");
        queue.push("c");
        assert_eq!(queue.take(9).await, ["c"], "a is worked on");
        queue.finish(&"a");
        assert_eq!(queue.take(9).await, ["a"], "it was pushed meanwhile");
    }

    #[tokio::test(start_paused = true)]
    async fn failures_pause_longer_each_time_and_a_push_ends_the_pause() {
        let queue = Queue::default();
        queue.push(1);
        let begun = Instant::now();
        assert_eq!(queue.take(1).await, [1]);
        for expected in [100, 300, 700] {
            queue.fail(&1);
            assert_eq!(queue.take(1).await, [1]);
            assert_eq!(begun.elapsed().as_millis(), expected);
        }
        queue.fail(&1);
        queue.push(1);
        let pushed = Instant::now();
        assert_eq!(queue.take(1).await, [1]);
        assert_eq!(pushed.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn the_sooner_of_two_due_times_counts() {
        let queue = Queue::default();
        let begun = Instant::now();
        queue.push_after('x', Duration::from_secs(5));
        queue.push_after('x', Duration::from_secs(1));
        queue.push_after('x', Duration::from_secs(9));
        assert_eq!(queue.take(1).await, ['x']);
        assert_eq!(begun.elapsed().as_secs(), 1);
        queue.finish(&'x');
        assert_eq!(queue.depth(), 0);
    }
}
