//! Work that comes in a stream is done in rounds: the first after a rest at once, later ones further and further apart
//! while the stream goes on, so that each carries more.

use std::time::Duration;

use tokio::time::Instant;

/// Rounds in a row, without a rest, that are only the least gap apart: what one change causes is over by then.
const AT_LEAST: u32 = 12;

/// When the next round may begin.
///
/// # Guarantees
/// - A round after a rest begins at once.
/// - Two rounds are never further apart than the most, because of this.
#[derive(Debug)]
pub struct Pace {
    least: Duration,
    most: Duration,
    row: u32,
    next: Instant,
    gap: Duration,
}

impl Pace {
    /// Rounds at least `least` apart, and up to `most` while they follow each other.
    pub fn new(least: Duration, most: Duration) -> Self {
        Self { least, most, row: 0, next: Instant::now(), gap: least }
    }

    /// Completes when the next round may begin.
    ///
    /// # Cancellation
    /// Safe: nothing has begun then.
    pub async fn ready(&self) {
        tokio::time::sleep_until(self.next).await;
    }

    /// A round begins.
    pub fn begin(&mut self) {
        // Had there been something to do when it might have begun, it would have.
        let rested = self.next.elapsed() >= self.gap;
        self.row = if rested { 0 } else { self.row.saturating_add(1) };
        self.gap = self.least.saturating_mul(1 << self.row.saturating_sub(AT_LEAST).min(16)).min(self.most);
        self.next = Instant::now() + self.gap;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: Duration = Duration::from_millis(8);
    const MOST: Duration = Duration::from_millis(100);

    #[tokio::test(start_paused = true)]
    async fn rounds_without_a_rest_come_further_apart_and_the_first_after_one_at_once() {
        let mut pace = Pace::new(LEAST, MOST);
        let round = async |pace: &mut Pace| {
            let before = Instant::now();
            pace.ready().await;
            pace.begin();
            before.elapsed().as_millis()
        };
        let mut gaps = Vec::new();
        for _ in 0..18 {
            gaps.push(round(&mut pace).await);
        }
        assert_eq!(gaps[..13], [0, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8]);
        assert_eq!(gaps[13..], [16, 32, 64, 100, 100]);
        tokio::time::advance(MOST * 3).await;
        assert_eq!([round(&mut pace).await, round(&mut pace).await], [0, 8]);
    }
}
