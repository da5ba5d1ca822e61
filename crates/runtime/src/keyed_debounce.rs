//! Things that come again and again: one that does waits for itself, and nobody else for it.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

/// When each thing that came lately is, or was, due.
///
/// # Guarantees
/// - What comes after a rest is due at once.
/// - One that comes again before it has rested is due the least gap after the last time, and each further time after twice
///   that, up to the most: a second time waits little, and one that comes all the time costs little.
/// - It has rested when it did not come for as long as it would have waited.
/// - Memory is bounded by the number of different things that come within twice the greatest gap.
#[derive(Debug)]
pub struct KeyedDebounce<K> {
    least: Duration,
    most: Duration,
    times: HashMap<K, Times>,
    /// When those that rest were forgotten last.
    swept: Instant,
}

#[derive(Debug)]
struct Times {
    /// When it is, or was, due last.
    due: Instant,
    /// Until it is due again.
    gap: Duration,
}

impl Times {
    fn rests(&self, now: Instant) -> bool {
        self.due + self.gap <= now
    }
}

impl<K: Eq + Hash> KeyedDebounce<K> {
    /// Keeps each thing from itself by `least` up to `most`.
    pub fn new(least: Duration, most: Duration) -> Self {
        Self { least, most, times: HashMap::new(), swept: Instant::now() }
    }

    /// A thing comes: how long it waits.
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
        // Due at 100 ms, and rested 200 ms later.
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
