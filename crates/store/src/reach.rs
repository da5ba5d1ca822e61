//! Tracks whether the database answers through the pool.
//!
//! Leases and idle connections are given up by this state.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Times of the last answer and of the last failure of the pool. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reach(Arc<Mutex<Moments>>);

#[derive(Debug, Default, Clone, Copy)]
struct Moments {
    answered: Option<Instant>,
    failed: Option<Instant>,
    /// Whether the schema does not work with this program.
    is_foreign: bool,
}

impl Reach {
    /// Records that the database answered a statement, even with an error.
    pub(crate) fn answered(&self) {
        self.update(|moments| moments.answered = Some(Instant::now()));
    }

    /// Records that a connection broke, gave no answer in time, or could not be acquired.
    pub(crate) fn failed(&self) {
        self.update(|moments| moments.failed = Some(Instant::now()));
    }

    /// Starts the time without an answer, if no statement was answered yet.
    pub(crate) fn begin(&self) {
        self.update(|moments| moments.answered = moments.answered.or_else(|| Some(Instant::now())));
    }

    /// Records whether the schema works with this program, as last read.
    pub(crate) fn schema_fits(&self, fits: bool) {
        self.update(|moments| moments.is_foreign = !fits);
    }

    /// Whether this process cannot use the database.
    ///
    /// True when the schema belongs to another program, or when no statement was answered for longer than `after`.
    /// The second condition is false before the first answer or call of [`Self::begin`].
    pub(crate) fn is_cut_off(&self, after: Duration, now: Instant) -> bool {
        let Moments { answered, is_foreign, .. } = self.moments();
        is_foreign || answered.is_some_and(|at| now.saturating_duration_since(at) > after)
    }

    /// Whether any connection failed since a connection that has been idle for `idle_for` was used.
    ///
    /// The idle connection may then be dead too.
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
