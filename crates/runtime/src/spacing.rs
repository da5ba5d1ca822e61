//! Things that come again and again: one that does waits for itself, and nobody else for it.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

/// When each thing that came lately is, or was, due.
///
/// # Guarantees
/// - What comes after a rest is due at once.
/// - Two times at which one thing is due are no less than the gap apart, and no more while it keeps coming.
/// - Memory is bounded by the number of different things that come within two gaps.
#[derive(Debug)]
pub struct Spacing<K> {
    gap: Duration,
    due: HashMap<K, Instant>,
    /// When those that rest were forgotten last.
    swept: Instant,
}

impl<K: Eq + Hash> Spacing<K> {
    /// Keeps each thing at least `gap` from itself.
    pub fn new(gap: Duration) -> Self {
        Self { gap, due: HashMap::new(), swept: Instant::now() }
    }

    /// A thing comes: how long it waits.
    pub fn wait(&mut self, thing: K) -> Duration {
        let (now, gap) = (Instant::now(), self.gap);
        if now.duration_since(self.swept) >= gap {
            self.due.retain(|_, due| *due + gap > now);
            self.swept = now;
        }
        let due = self.due.entry(thing).and_modify(|due| {
            if *due <= now {
                *due = now.max(*due + gap);
            }
        });
        due.or_insert(now).saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GAP: Duration = Duration::from_millis(100);

    #[tokio::test(start_paused = true)]
    async fn one_that_comes_all_the_time_waits_for_itself_alone() {
        let mut spacing = Spacing::new(GAP);
        assert!(spacing.wait(1).is_zero());
        assert_eq!(spacing.wait(1), GAP);
        assert_eq!(spacing.wait(1), GAP, "it is due already");
        assert!(spacing.wait(2).is_zero());
        tokio::time::advance(GAP).await;
        assert_eq!(spacing.wait(1), GAP, "it was just due");
        tokio::time::advance(GAP * 2).await;
        assert!(spacing.wait(1).is_zero());
    }

    #[tokio::test(start_paused = true)]
    async fn what_rests_is_forgotten() {
        let mut spacing = Spacing::new(GAP);
        for thing in 0..1_000 {
            assert!(spacing.wait(thing).is_zero());
        }
        tokio::time::advance(GAP * 2).await;
        assert!(spacing.wait(0).is_zero());
        assert_eq!(spacing.due.len(), 1);
    }
}
