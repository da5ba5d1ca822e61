//! Circuit breaker of one member.
//!
//! The breaker stops calls to a member that does not answer, and lets a trial call through from time to time.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::config::Limits;

/// State of a breaker, by the calls it lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// All calls pass.
    Closed,
    /// No call passes until the pause is over.
    Open,
    /// A single trial call passes; its result closes or reopens the breaker.
    HalfOpen,
}

/// Opens after consecutive transport failures.
///
/// Any answer closes it, even a refusal, because it shows that the member is alive.
#[derive(Debug)]
pub(crate) struct Breaker {
    threshold: u32,
    open: Duration,
    open_max: Duration,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    failures: u32,
    /// End of the pause after which a trial call passes; `None` while the breaker is closed.
    until: Option<Instant>,
    /// Start time of the trial call that is under way.
    trial: Option<Instant>,
    next_open: Duration,
}

impl Breaker {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            threshold: limits.breaker_failures.max(1),
            open: limits.breaker_open,
            open_max: limits.breaker_open_max,
            inner: Mutex::new(Inner { failures: 0, until: None, trial: None, next_open: limits.breaker_open }),
        }
    }

    pub(crate) fn state(&self) -> BreakerState {
        let inner = self.inner.lock();
        match inner.until {
            None => BreakerState::Closed,
            Some(until) if until > Instant::now() => BreakerState::Open,
            Some(_) => BreakerState::HalfOpen,
        }
    }

    /// Returns `Err(time left)` when the call must not be made.
    pub(crate) fn admit(&self) -> Result<(), Duration> {
        let now = Instant::now();
        let mut inner = self.inner.lock();
        let Some(until) = inner.until else {
            return Ok(());
        };
        if until > now {
            return Err(until - now);
        }
        // A trial whose caller was dropped must not block the next trial for ever.
        match inner.trial {
            Some(began) if now - began < self.open => Err(self.open.saturating_sub(now - began)),
            _ => {
                inner.trial = Some(now);
                Ok(())
            }
        }
    }

    pub(crate) fn answered(&self) {
        let mut inner = self.inner.lock();
        *inner = Inner { failures: 0, until: None, trial: None, next_open: self.open };
    }

    pub(crate) fn failed(&self) {
        let now = Instant::now();
        let mut inner = self.inner.lock();
        inner.failures = inner.failures.saturating_add(1);
        let reopens = inner.until.is_some_and(|until| until <= now);
        let opens = inner.until.is_none() && inner.failures >= self.threshold;
        if opens || reopens {
            inner.until = Some(now + inner.next_open);
            inner.next_open = (inner.next_open * 2).min(self.open_max);
            inner.trial = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker() -> Breaker {
        Breaker::new(&Limits {
            breaker_failures: 3,
            breaker_open: Duration::from_secs(2),
            breaker_open_max: Duration::from_secs(5),
            ..Limits::default()
        })
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_after_consecutive_failures_only() {
        let breaker = breaker();
        for _ in 0..5 {
            breaker.failed();
            breaker.failed();
            breaker.answered();
        }
        assert_eq!(breaker.state(), BreakerState::Closed);
        for _ in 0..3 {
            breaker.failed();
        }
        assert_eq!(breaker.state(), BreakerState::Open);
        assert_eq!(breaker.admit(), Err(Duration::from_secs(2)));
    }

    #[tokio::test(start_paused = true)]
    async fn one_trial_at_a_time_and_failures_double_pause_up_to_limit() {
        let breaker = breaker();
        for _ in 0..3 {
            breaker.failed();
        }
        let mut pauses = Vec::new();
        for _ in 0..3 {
            let left = breaker.admit().unwrap_err();
            pauses.push(left.as_secs());
            tokio::time::advance(left).await;
            assert_eq!(breaker.state(), BreakerState::HalfOpen);
            assert_eq!(breaker.admit(), Ok(()));
            assert!(breaker.admit().is_err(), "a second trial beside the first");
            breaker.failed();
        }
        assert_eq!(pauses, [2, 4, 5]);
    }

    #[tokio::test(start_paused = true)]
    async fn answer_closes_breaker_and_abandoned_trial_does_not_block() {
        let breaker = breaker();
        for _ in 0..3 {
            breaker.failed();
        }
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(breaker.admit(), Ok(()));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(breaker.admit(), Ok(()), "the first trial was abandoned");
        breaker.answered();
        assert_eq!(breaker.state(), BreakerState::Closed);
        assert_eq!(breaker.admit(), Ok(()));
    }
}
