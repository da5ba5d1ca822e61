//! Whether the database answers through the pool: what leases and connections are given up by.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// When the pool last got an answer, and when it last failed to get one. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reach(Arc<Mutex<Moments>>);

#[derive(Debug, Default, Clone, Copy)]
struct Moments {
    answered: Option<Instant>,
    failed: Option<Instant>,
    /// The schema does not work with this program.
    is_foreign: bool,
}

impl Reach {
    /// The database answered a statement, be it by an error of that statement.
    pub(crate) fn answered(&self) {
        self.update(|moments| moments.answered = Some(Instant::now()));
    }

    /// A connection broke, gave no answer in time, or could not be had.
    pub(crate) fn failed(&self) {
        self.update(|moments| moments.failed = Some(Instant::now()));
    }

    /// Starts to count, if nothing was answered yet.
    pub(crate) fn begin(&self) {
        self.update(|moments| moments.answered = moments.answered.or_else(|| Some(Instant::now())));
    }

    /// Whether the schema works with this program, as it was read last.
    pub(crate) fn schema_fits(&self, fits: bool) {
        self.update(|moments| moments.is_foreign = !fits);
    }

    /// Whether the database is of no use: its schema is another program's, or no statement was answered for longer than
    /// `after`. False before the first answer.
    pub(crate) fn is_cut_off(&self, after: Duration, now: Instant) -> bool {
        let Moments { answered, is_foreign, .. } = self.moments();
        is_foreign || answered.is_some_and(|at| now.saturating_duration_since(at) > after)
    }

    /// Whether another connection failed since one that has been idle for so long was used: it may be dead too.
    pub(crate) fn failed_within(&self, idle_for: Duration) -> bool {
        self.moments().failed.is_some_and(|at| at.elapsed() <= idle_for)
    }

    fn moments(&self) -> Moments {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn update(&self, change: impl FnOnce(&mut Moments)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_off_counts_from_the_last_answer() {
        let reach = Reach::default();
        let is_cut_off =
            |seconds| reach.is_cut_off(Duration::from_secs(15), Instant::now() + Duration::from_secs(seconds));
        assert!(!is_cut_off(60), "nothing was asked yet");
        reach.begin();
        assert!(!is_cut_off(14));
        reach.failed();
        assert!(is_cut_off(16), "a failure is no answer");
        reach.answered();
        assert!(!is_cut_off(14));
        reach.schema_fits(false);
        assert!(is_cut_off(0), "it is another program's now");
        reach.schema_fits(true);
        assert!(!is_cut_off(14));
    }

    #[test]
    fn a_failure_casts_doubt_on_connections_that_were_idle_then() {
        let reach = Reach::default();
        assert!(!reach.failed_within(Duration::from_mins(1)));
        reach.failed();
        assert!(reach.failed_within(Duration::from_secs(1)));
        assert!(!reach.failed_within(Duration::ZERO), "it was used after the failure");
    }
}
