//! Limits how often batches of work run, so that a steady stream of work runs in larger batches.
//!
//! Batches after an idle period begin at once. While many different keys keep arriving, later batches run further
//! apart. A single key that changes all the time does not delay other keys.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

/// Maximum number of batches that may be only the minimum interval apart.
///
/// The work that one change causes is done by then.
const SAVED: u32 = 12;

/// Period for which [`DistinctKeys`] keeps a key.
const LATELY: Duration = Duration::from_secs(1);
/// Number of different keys within `LATELY` from which batches are limited.
const CROWD: usize = 8;

/// The different keys that batches carried within the last second.
#[derive(Debug)]
pub struct DistinctKeys<K>(HashMap<K, Instant>);

impl<K> Default for DistinctKeys<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash> DistinctKeys<K> {
    /// Records the keys of a batch. Returns whether many different keys came within the last second.
    ///
    /// Only many different keys justify that one key waits for others.
    pub fn carry(&mut self, things: impl IntoIterator<Item = K>) -> bool {
        let now = Instant::now();
        self.0.retain(|_, at| now.duration_since(*at) < LATELY);
        self.0.extend(things.into_iter().map(|thing| (thing, now)));
        self.0.len() >= CROWD
    }
}

/// Decides when the next batch may begin: a bucket of batches, refilled at a steady rate.
///
/// # Guarantees
/// - A batch after an idle period begins at once.
/// - The limiter delays a batch by at most `most` after the batch before it.
/// - While many different keys arrive, at most one batch per `most` begins in the long run, and a handful more.
#[derive(Debug)]
pub struct BatchLimiter {
    least: Duration,
    most: Duration,
    /// The bucket is full when this lies `SAVED` times `most` before now, and empty when this is now.
    level: Instant,
    next: Instant,
}

impl BatchLimiter {
    /// Creates a limiter whose batches begin at least `least` apart.
    ///
    /// While many different keys keep arriving, batches begin `most` apart.
    pub fn new(least: Duration, most: Duration) -> Self {
        let now = Instant::now();
        Self { least, most, level: now.checked_sub(most * SAVED).unwrap_or(now), next: now }
    }

    /// Completes when the next batch may begin.
    ///
    /// # Cancel safety
    /// Cancel safe: no batch has begun before it completes.
    pub async fn ready(&self) {
        tokio::time::sleep_until(self.next).await;
    }

    /// Records that a batch begins. `crowded` is the result of [`DistinctKeys::carry`].
    pub fn begin(&mut self, crowded: bool) {
        let now = Instant::now();
        if !crowded {
            self.next = now + self.least;
            return;
        }
        let full = now.checked_sub(self.most * SAVED).unwrap_or(self.level);
        self.level = self.level.max(full) + self.most;
        self.next = self.level.max(now + self.least).min(now + self.most);
    }

    /// Lets the next batch begin at once, because one batch did not carry all the work.
    pub fn hurry(&mut self) {
        self.next = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: Duration = Duration::from_millis(8);
    const MOST: Duration = Duration::from_millis(100);

    async fn round(pace: &mut BatchLimiter) -> u128 {
        let before = Instant::now();
        pace.ready().await;
        pace.begin(true);
        before.elapsed().as_millis()
    }

    #[tokio::test(start_paused = true)]
    async fn first_batches_after_idle_are_close_and_later_ones_spread() {
        let mut pace = BatchLimiter::new(LEAST, MOST);
        let mut gaps = Vec::new();
        for _ in 0..18 {
            gaps.push(round(&mut pace).await);
        }
        assert_eq!(gaps[..12], [0, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8]);
        assert!(gaps[15..].iter().all(|gap| *gap == 100), "{gaps:?}");
        tokio::time::advance(MOST * 3).await;
        assert_eq!([round(&mut pace).await, round(&mut pace).await], [0, 8], "a short rest saves a few");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_stream_is_paced_as_a_fast_one_is() {
        let mut pace = BatchLimiter::new(LEAST, MOST);
        let begun = Instant::now();
        let mut rounds = 0;
        while begun.elapsed() < MOST * 100 {
            round(&mut pace).await;
            rounds += 1;
            // The next work arrives a while after the batch.
            tokio::time::advance(LEAST * 3).await;
        }
        assert!(rounds <= 100 + SAVED + 1, "{rounds}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_round_is_followed_at_once() {
        let mut pace = BatchLimiter::new(LEAST, MOST);
        for _ in 0..20 {
            round(&mut pace).await;
        }
        pace.hurry();
        assert_eq!(round(&mut pace).await, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn only_many_different_things_lately_are_a_crowd() {
        let (mut pace, mut crowd) = (BatchLimiter::new(LEAST, MOST), DistinctKeys::default());
        for _ in 0..50 {
            pace.ready().await;
            pace.begin(crowd.carry([1]));
        }
        assert!(pace.next.duration_since(Instant::now()) <= LEAST, "one alone is not paced");
        assert!(crowd.carry(0..8));
        tokio::time::advance(LATELY).await;
        assert!(!crowd.carry([1]));
    }
}
