//! Debounces keys that arrive again and again: such a key delays itself and no other key.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

/// Due time of each key that arrived recently.
///
/// # Guarantees
/// - A key that arrives after an idle period is due at once.
/// - A key that arrives again before it is idle is due `least` after its last due time. The gap doubles each further
///   time, up to `most`. A second arrival waits little, and a key that arrives all the time costs little.
/// - A key is idle when it did not arrive for as long as it would have waited.
/// - Memory is bounded by the number of different keys that arrive within twice `most`.
#[derive(Debug)]
pub struct KeyedDebounce<K> {
    least: Duration,
    most: Duration,
    times: HashMap<K, Times>,
    /// Time at which idle keys were last removed.
    swept: Instant,
}

#[derive(Debug)]
struct Times {
    /// Last time at which the key is or was due.
    due: Instant,
    /// Gap from `due` to the next due time.
    gap: Duration,
}

impl Times {
    fn rests(&self, now: Instant) -> bool {
        self.due + self.gap <= now
    }
}

impl<K: Eq + Hash> KeyedDebounce<K> {
    /// Creates a debounce whose gaps grow from `least` to `most`.
    pub fn new(least: Duration, most: Duration) -> Self {
        Self { least, most, times: HashMap::new(), swept: Instant::now() }
    }

    /// Records the arrival of a key and returns how long the key waits.
    pub fn wait(&mut self, thing: K) -> Duration {
        let now = Instant::now();
        if now.duration_since(self.swept) >= self.most {
            self.times.retain(|_, times| !times.rests(now));
            self.swept = now;
        }
        let times = self.times.entry(thing).and_modify(|times| {
            if times.rests(now) {
                *times = Times { due: now, gap: self.least };
            } else if times.due <= now {
                *times = Times { due: times.due + times.gap, gap: (times.gap * 2).min(self.most) };
            }
        });
        times.or_insert(Times { due: now, gap: self.least }).due.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: Duration = Duration::from_millis(100);
    const MOST: Duration = Duration::from_millis(500);

    #[tokio::test(start_paused = true)]
    async fn busy_key_waits_longer_each_time_and_delays_no_other_key() {
        let mut spacing = KeyedDebounce::new(LEAST, MOST);
        let begun = Instant::now();
        let mut due = vec![];
        while begun.elapsed() < Duration::from_secs(2) {
            let at = (begun.elapsed() + spacing.wait("busy")).as_millis();
            if due.last() != Some(&at) {
                due.push(at);
            }
            tokio::time::advance(Duration::from_millis(20)).await;
        }
        assert_eq!(due, [0, 100, 300, 700, 1200, 1700, 2200]);
        assert!(spacing.wait("calm").is_zero());
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_time_waits_little_and_a_rest_makes_it_new() {
        let mut spacing = KeyedDebounce::new(LEAST, MOST);
        assert!(spacing.wait(1).is_zero());
        tokio::time::advance(LEAST / 2).await;
        assert_eq!(spacing.wait(1), LEAST / 2);
        assert_eq!(spacing.wait(1), LEAST / 2, "it is due already");
        // Due at 100 ms, and idle 200 ms later.
        tokio::time::advance(LEAST * 2).await;
        assert_eq!(spacing.wait(1), LEAST / 2);
        tokio::time::advance(MOST * 2).await;
        assert!(spacing.wait(1).is_zero());
    }

    #[tokio::test(start_paused = true)]
    async fn idle_keys_are_removed() {
        let mut spacing = KeyedDebounce::new(LEAST, MOST);
        for thing in 0..1_000 {
            assert!(spacing.wait(thing).is_zero());
        }
        tokio::time::advance(MOST).await;
        assert!(spacing.wait(0).is_zero());
        assert_eq!(spacing.times.len(), 1);
    }
}
