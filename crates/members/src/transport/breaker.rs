//! One breaker per member: stop trying what does not answer, let one call through from time to time.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::config::Limits;

/// What the breaker lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// Everything.
    Closed,
    /// Nothing until the time is up.
    Open,
    /// One trial call; its result decides.
    HalfOpen,
}

/// Opens after consecutive transport failures. Answers, even refusals, close it: the member lives.
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
    /// Set while open: when a trial call is let through.
    until: Option<Instant>,
    /// A trial call that began at this time is under way.
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

    /// `Err(time left)` when the call must not be made.
    pub(crate) fn admit(&self) -> Result<(), Duration> {
        let now = Instant::now();
        let mut inner = self.inner.lock();
        let Some(until) = inner.until else {
            return Ok(());
        };
        if until > now {
            return Err(until - now);
        }
        // A trial whose caller went away must not block the next one for ever.
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
    async fn one_trial_at_a_time_and_its_failure_doubles_the_pause_up_to_the_limit() {
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
    async fn an_answer_closes_it_and_an_abandoned_trial_does_not_keep_it_shut() {
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
