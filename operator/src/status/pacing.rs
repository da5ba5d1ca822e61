//! Limits how often the status of Applications is written.
//!
//! Important changes are written promptly, and mere progress less often. While many Applications change, all of them
//! are written less often.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use vocabulary::AppKey;

/// Minimum delay before a change is written.
///
/// Changes that follow each other within the delay share one write.
pub(super) const GATHER: Duration = Duration::from_millis(30);
/// Minimum interval between two writes of one Application's status.
///
/// Changes within the interval share one write.
const PACE: Duration = Duration::from_millis(400);
/// Delay of a write that reports only progress, from when the progress was first seen.
const PROGRESS: Duration = Duration::from_secs(2);
/// Number of recently written Applications that raise the load factor by one.
///
/// The load factor multiplies [`PACE`] and [`PROGRESS`]; its square multiplies [`GATHER`]. So while many Applications
/// change at once, each is written less often on its way. A new Application is written when there is something to show.
/// The work on the Applications comes first, and a write of status costs the hub more than an Application does.
const CROWD: usize = 8;
/// Maximum load factor.
const CROWD_MOST: u32 = 12;
/// Maximum load factor for mere progress, because users watch it.
const PROGRESS_MOST: u32 = 5;
/// Step of common write times under load, multiplied by the load factor minus one.
///
/// Applications that are read together cost little more than a single one.
const TOGETHER: Duration = Duration::from_millis(120);

/// Times of the last status write, and since when progress waits, by Application.
#[derive(Debug, Default)]
pub(super) struct Pacing(Mutex<WriteTimes>);

#[derive(Debug)]
struct WriteTimes {
    /// Origin of the common write times.
    origin: Instant,
    times: HashMap<AppKey, Times>,
    /// Time of the last removal of idle Applications.
    swept: Option<Instant>,
}

impl Default for WriteTimes {
    fn default() -> Self {
        Self { origin: Instant::now(), times: HashMap::new(), swept: None }
    }
}

#[derive(Debug, Default)]
struct Times {
    written: Option<Instant>,
    progress: Option<Instant>,
}

impl Pacing {
    /// Records that the status of an Application was written.
    pub(super) fn written(&self, key: &AppKey) {
        let times = Times { written: Some(Instant::now()), progress: None };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).times.insert(key.clone(), times);
    }

    /// Computes a wait from the times of one Application and the load factor.
    ///
    /// A wait that is not zero is extended to the next common write time.
    fn look(&self, key: &AppKey, look: impl FnOnce(u32, &mut Times) -> Duration) -> Duration {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.swept.is_none_or(|at| at.elapsed() >= PACE) {
            let young = |at: &Instant| at.elapsed() < PROGRESS * PROGRESS_MOST * 2;
            known.times.retain(|_, times| [times.written, times.progress].iter().flatten().any(young));
            known.swept = Some(Instant::now());
        }
        let crowd = u32::try_from(1 + known.times.len() / CROWD).unwrap_or(CROWD_MOST).min(CROWD_MOST);
        let wait = look(crowd, known.times.entry(key.clone()).or_default());
        let step = TOGETHER * (crowd - 1);
        if wait.is_zero() || step.is_zero() {
            return wait;
        }
        let due = (known.origin.elapsed() + wait).as_nanos();
        let past = Duration::from_nanos(u64::try_from(due % step.as_nanos()).unwrap_or_default());
        if past.is_zero() { wait } else { wait + step.saturating_sub(past) }
    }

    /// Returns how long a change waits for further changes.
    pub(super) fn rest(&self, key: &AppKey) -> Duration {
        self.look(key, |crowd, times| {
            let ago = times.written.map_or(Duration::MAX, |at| at.elapsed());
            (PACE * crowd).saturating_sub(ago).max(GATHER * crowd * crowd)
        })
    }

    /// Returns how long progress that is seen now still waits; `None` when it has waited long enough.
    pub(super) fn patience(&self, key: &AppKey) -> Option<Duration> {
        let left = self.look(key, |crowd, times| {
            let since = times.progress.get_or_insert_with(Instant::now);
            (PROGRESS * crowd.min(PROGRESS_MOST)).saturating_sub(since.elapsed())
        });
        (!left.is_zero()).then_some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> AppKey {
        AppKey { namespace: "a".to_owned(), name: name.to_owned() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_after_a_rest_is_shown_soon_and_the_next_one_later() {
        let pacing = Pacing::default();
        assert_eq!(pacing.rest(&key("web")), GATHER);
        pacing.written(&key("web"));
        assert_eq!(pacing.rest(&key("web")), PACE);
        tokio::time::advance(PACE).await;
        assert_eq!(pacing.rest(&key("web")), GATHER);
    }

    #[tokio::test(start_paused = true)]
    async fn progress_waits_from_when_it_was_first_seen_and_not_for_ever() {
        let pacing = Pacing::default();
        assert_eq!(pacing.patience(&key("web")), Some(PROGRESS));
        tokio::time::advance(PROGRESS / 2).await;
        assert_eq!(pacing.patience(&key("web")), Some(PROGRESS / 2));
        tokio::time::advance(PROGRESS / 2).await;
        assert_eq!(pacing.patience(&key("web")), None);
        pacing.written(&key("web"));
        assert_eq!(pacing.patience(&key("web")), Some(PROGRESS), "the next one waits anew");
    }

    #[tokio::test(start_paused = true)]
    async fn a_crowd_is_shown_less_often_and_only_while_it_lasts() {
        let pacing = Pacing::default();
        for number in 0..1_000 {
            pacing.written(&key(&number.to_string()));
        }
        let step = TOGETHER * (CROWD_MOST - 1);
        let rest = pacing.rest(&key("web"));
        assert!(rest >= GATHER * CROWD_MOST * CROWD_MOST && rest < GATHER * CROWD_MOST * CROWD_MOST + step);
        tokio::time::advance(Duration::from_millis(50)).await;
        assert_eq!(pacing.rest(&key("other")), rest.saturating_sub(Duration::from_millis(50)), "at the same moment");
        let patience = pacing.patience(&key("web")).unwrap();
        assert!(patience >= PROGRESS * PROGRESS_MOST && patience < PROGRESS * PROGRESS_MOST + step);
        tokio::time::advance(PROGRESS * PROGRESS_MOST * 2).await;
        assert_eq!(pacing.rest(&key("web")), GATHER);
    }
}
