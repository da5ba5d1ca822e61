//! Measures how long a step was ready without a break.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use vocabulary::{ContentHash, OperationId};

/// Time after which a step that no process asked about is removed.
const IDLE_MAX: Duration = Duration::from_mins(10);

/// Clocks of steps that are ready and wait for `minReady`.
///
/// A clock counts in this process alone, and stands for the observed rows: any change of them begins it anew, also one
/// that was over before it was observed. So no clock of another machine counts, and a step that another process takes over
/// waits for the whole time again.
#[derive(Debug, Default)]
pub(super) struct ReadyClock(Mutex<HashMap<StepName, Running>>);

type StepName = (OperationId, String);

#[derive(Debug)]
struct Running {
    rows: ContentHash,
    since: Instant,
    asked: Instant,
}

impl ReadyClock {
    fn clocks(&self) -> MutexGuard<'_, HashMap<StepName, Running>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns for how long a step has been ready with exactly these rows.
    pub(super) fn ready_for(&self, operation: OperationId, step: &str, rows: ContentHash) -> Duration {
        let now = Instant::now();
        let mut clocks = self.clocks();
        clocks.retain(|_, clock| now.duration_since(clock.asked) < IDLE_MAX);
        let clock = clocks.entry((operation, step.to_owned())).or_insert(Running { rows, since: now, asked: now });
        if clock.rows != rows {
            (clock.rows, clock.since) = (rows, now);
        }
        clock.asked = now;
        now.duration_since(clock.since)
    }

    /// Ends the clock of a step that is not ready, or needs none any more.
    pub(super) fn stop(&self, operation: OperationId, step: &str) {
        self.clocks().remove(&(operation, step.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_begins_anew_after_any_change() {
        let (clock, operation) = (ReadyClock::default(), OperationId::generate());
        let (one, other) = (ContentHash::of(b"one"), ContentHash::of(b"other"));
        assert!(clock.ready_for(operation, "beta", one) < Duration::from_millis(1));
        std::thread::sleep(Duration::from_millis(2));
        assert!(clock.ready_for(operation, "beta", one) >= Duration::from_millis(2), "the same rows");
        let after_change = clock.ready_for(operation, "beta", other);
        assert_eq!(after_change, Duration::ZERO, "other rows");
        std::thread::sleep(Duration::from_millis(2));
        clock.stop(operation, "beta");
        assert_eq!(clock.ready_for(operation, "beta", other), Duration::ZERO, "a break");
        assert_eq!(clock.ready_for(operation, "batch-1", other), Duration::ZERO, "another step");
    }
}
