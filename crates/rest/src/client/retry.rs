//! Decides which requests are repeated, and when. Pure.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// Delay before the first repetition. Fail-overs take seconds, restarts of one of several servers take none.
const DELAY_MIN: Duration = Duration::from_millis(200);
/// Maximum delay between repetitions, so that a server that returns is noticed soon.
const DELAY_MAX: Duration = Duration::from_secs(5);
/// Maximum delay that a server may ask for by `Retry-After`.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);

/// Which errors of a server are repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// Errors by which a server says that another attempt can succeed.
    Unavailable,
    /// Every error of the server itself. Only for requests that read.
    AnyServerError,
}

impl Patience {
    /// Returns whether a request that got this HTTP status is repeated.
    pub(super) const fn repeats(self, status: u16) -> bool {
        match self {
            Self::Unavailable => matches!(status, 429 | 502..=504),
            Self::AnyServerError => matches!(status, 429 | 500..=599),
        }
    }
}

/// Delays between the attempts of one request.
pub(super) struct Delays(ExponentialBackoff);

impl Delays {
    pub(super) fn new() -> Self {
        let builder = ExponentialBuilder::default().with_min_delay(DELAY_MIN).with_max_delay(DELAY_MAX);
        Self(builder.with_jitter().without_max_times().build())
    }

    /// Returns the delay before the next attempt. A `Retry-After` of the server replaces a shorter one.
    pub(super) fn next(&mut self, retry_after: Option<Duration>) -> Duration {
        let own = self.0.next().unwrap_or(DELAY_MAX).min(DELAY_MAX);
        retry_after.map_or(own, |asked| asked.min(RETRY_AFTER_MAX).max(own))
    }
}

/// Parses the seconds of a `Retry-After`. Its other form, a date, is left to the own delays.
pub(super) fn parse_retry_after(text: &str) -> Option<Duration> {
    text.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_errors_that_can_pass_are_repeated() {
        for (status, unavailable, any) in [
            (200, false, false),
            (400, false, false),
            (401, false, false),
            (403, false, false),
            (404, false, false),
            (409, false, false),
            (422, false, false),
            (429, true, true),
            (500, false, true),
            (502, true, true),
            (503, true, true),
            (504, true, true),
        ] {
            assert_eq!(Patience::Unavailable.repeats(status), unavailable, "{status}");
            assert_eq!(Patience::AnyServerError.repeats(status), any, "{status}");
        }
    }

    #[test]
    fn delays_grow_to_a_limit_and_servers_may_ask_for_longer_ones() {
        let mut delays = Delays::new();
        let all: Vec<Duration> = (0..20).map(|_| delays.next(None)).collect();
        assert!(all[0] >= DELAY_MIN, "{all:?}");
        assert!(all.iter().all(|delay| *delay <= DELAY_MAX), "{all:?}");
        assert_eq!(all[19], DELAY_MAX);
        for (asked, expected) in [(1, 5), (7, 7), (3_600, 30)] {
            assert_eq!(delays.next(Some(Duration::from_secs(asked))).as_secs(), expected, "asked for {asked} s");
        }
        assert_eq!(parse_retry_after(" 7 "), Some(Duration::from_secs(7)));
        assert_eq!(parse_retry_after("Wed, 21 Oct 2026 07:28:00 GMT"), None);
    }
}
