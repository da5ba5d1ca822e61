//! Limits on concurrent calls and on retries of one member.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::config::Limits;
use crate::error::MemberError;

/// Concurrency and retry budget of one member.
#[derive(Debug)]
pub(crate) struct Budget {
    slots: Semaphore,
    tokens: Mutex<Tokens>,
    limits: Limits,
}

#[derive(Debug)]
struct Tokens {
    left: u32,
    refilled: Instant,
}

impl Budget {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            slots: Semaphore::new(limits.concurrency.max(1)),
            tokens: Mutex::new(Tokens { left: limits.retry_budget, refilled: Instant::now() }),
            limits: limits.clone(),
        }
    }

    pub(crate) async fn slot(&self) -> SemaphorePermit<'_> {
        self.slots.acquire().await.expect("the semaphore is never closed")
    }

    /// Makes the call, and retries it when the server asks for that and the budget allows it.
    ///
    /// The server asks for a retry by 429, or by a 5xx status such as 503 with `Retry-After`. Such an answer means that
    /// the server did nothing, so a retry is safe for every verb.
    pub(crate) async fn retrying<T, F, Fut>(&self, call: F) -> Result<T, MemberError>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, MemberError>>,
    {
        let policy = ExponentialBuilder::new()
            .with_min_delay(self.limits.retry_pause)
            .with_max_delay(self.limits.retry_pause_max)
            .with_max_times(self.limits.retries)
            .with_jitter();
        call.retry(policy)
            .when(|error| requested_pause(error).is_some())
            .adjust(|error, pause| {
                // Without a pause no retry is left, and only a real retry may cost a token.
                let pause = pause.filter(|_| self.take())?;
                let requested = requested_pause(error)?;
                Some(pause.max(requested).min(self.limits.retry_pause_max))
            })
            .await
    }

    fn take(&self) -> bool {
        let now = Instant::now();
        let mut tokens = self.tokens.lock();
        let refill = self.limits.retry_refill.max(Duration::from_millis(1));
        let earned = (now - tokens.refilled).as_millis() / refill.as_millis().max(1);
        let earned = u32::try_from(earned).unwrap_or(u32::MAX);
        if earned > 0 {
            tokens.left = tokens.left.saturating_add(earned).min(self.limits.retry_budget);
            tokens.refilled = now;
        }
        if tokens.left == 0 {
            return false;
        }
        tokens.left -= 1;
        true
    }
}

/// Returns the minimum pause before a retry; `None` if the server asks for no retry.
///
/// The pause is zero if the server asks for a retry and gives no time.
fn requested_pause(error: &MemberError) -> Option<Duration> {
    match error {
        MemberError::Throttled { retry_after, .. } => Some(retry_after.unwrap_or_default()),
        MemberError::Unavailable { retry_after, .. } => *retry_after,
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn throttled(retry_after: Option<Duration>) -> MemberError {
        MemberError::Throttled { cluster: "north".parse().unwrap(), message: "slow down".into(), retry_after }
    }

    async fn calls(budget: &Budget, error: &MemberError, succeed_at: u32) -> (u32, bool) {
        let made = Cell::new(0);
        let result = budget
            .retrying(|| async {
                made.set(made.get() + 1);
                if made.get() >= succeed_at { Ok(()) } else { Err(error.clone()) }
            })
            .await;
        (made.get(), result.is_ok())
    }

    #[tokio::test(start_paused = true)]
    async fn throttling_is_repeated_and_the_servers_wish_is_waited_for() {
        let budget = Budget::new(&Limits::default());
        let began = Instant::now();
        let error = throttled(Some(Duration::from_secs(2)));
        assert_eq!(calls(&budget, &error, 3).await, (3, true));
        assert!(began.elapsed() >= Duration::from_secs(4));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_cannot_make_us_wait_longer_than_the_limit() {
        let budget = Budget::new(&Limits::default());
        let began = Instant::now();
        let error = throttled(Some(Duration::from_hours(1)));
        assert_eq!(calls(&budget, &error, 9).await, (4, false));
        assert!(began.elapsed() <= Duration::from_secs(16));
    }

    #[tokio::test(start_paused = true)]
    async fn the_budget_of_all_callers_ends_and_comes_back_with_time() {
        let limits = Limits { retry_budget: 4, retry_refill: Duration::from_mins(10), ..Limits::default() };
        let budget = Budget::new(&limits);
        let error = throttled(None);
        assert_eq!(calls(&budget, &error, 9).await.0, 4);
        assert_eq!(calls(&budget, &error, 9).await.0, 2);
        assert_eq!(calls(&budget, &error, 9).await.0, 1);
        tokio::time::advance(Duration::from_mins(20)).await;
        assert_eq!(calls(&budget, &error, 9).await.0, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn other_failures_are_not_repeated() {
        let budget = Budget::new(&Limits::default());
        for error in [
            MemberError::TimedOut { cluster: "north".parse().unwrap(), after: Duration::from_secs(1) },
            MemberError::Forbidden { message: "no".into() },
        ] {
            assert_eq!(calls(&budget, &error, 2).await, (1, false));
        }
    }
}
