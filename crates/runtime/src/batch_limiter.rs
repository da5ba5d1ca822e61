//! Work that comes in a stream is done in rounds: those after a rest at once, later ones further apart while a crowd keeps
//! coming, so that each carries more. One thing that changes all the time is no crowd, and makes nobody wait.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

/// Rounds that may be only the least gap apart: what one change causes is over by then.
const SAVED: u32 = 12;

/// What counts as lately.
const LATELY: Duration = Duration::from_secs(1);
/// So many different things lately are a crowd.
const CROWD: usize = 8;

/// The different things that rounds carried lately.
#[derive(Debug)]
pub struct DistinctKeys<K>(HashMap<K, Instant>);

impl<K> Default for DistinctKeys<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash> DistinctKeys<K> {
    /// A round carries these. Returns whether many different ones came lately: only then is it worth making one wait for
    /// others.
    pub fn carry(&mut self, things: impl IntoIterator<Item = K>) -> bool {
        let now = Instant::now();
        self.0.retain(|_, at| now.duration_since(*at) < LATELY);
        self.0.extend(things.into_iter().map(|thing| (thing, now)));
        self.0.len() >= CROWD
    }
}

/// When the next round may begin: a bucket of rounds, filled at a steady rate.
///
/// # Guarantees
/// - A round after a rest begins at once.
/// - Two rounds are never further apart than the most, because of this.
/// - In a crowd there are over a longer time no more rounds than one for every `most`, and a handful.
#[derive(Debug)]
pub struct BatchLimiter {
    least: Duration,
    most: Duration,
    /// The bucket is full when this lies `SAVED` times `most` back, and empty when it is now.
    level: Instant,
    next: Instant,
}

impl BatchLimiter {
    /// Rounds at least `least` apart, and `most` while they follow each other without an end in a crowd.
    pub fn new(least: Duration, most: Duration) -> Self {
        let now = Instant::now();
        Self { least, most, level: now.checked_sub(most * SAVED).unwrap_or(now), next: now }
    }

    /// Completes when the next round may begin.
    ///
    /// # Cancellation
    /// Safe: nothing has begun then.
    pub async fn ready(&self) {
        tokio::time::sleep_until(self.next).await;
    }

    /// A round begins, in a [crowd](DistinctKeys) or not.
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

    /// There is more to do than one round carries: the next need not wait.
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
            // The next thing to do comes a while after the round.
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
