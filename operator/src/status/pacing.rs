//! How often the status of applications is written: promptly when it matters, less often for mere progress, and for all
//! of them less often while many change.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use vocabulary::AppKey;

/// Changes that follow each other this fast are shown together.
pub(super) const GATHER: Duration = Duration::from_millis(30);
/// Between two writes of one application's status: what happens faster is shown together.
const PACE: Duration = Duration::from_millis(400);
/// Between two writes that only say how far things are.
const PROGRESS: Duration = Duration::from_secs(2);
/// The last two are longer by one for every so many applications whose status was written lately, up to so many times, and
/// the first by the square of that. While many change at once, each is shown less often on its way, and one that is new when
/// there is something to show: what is to be done with them comes first, and a write of status costs the hub more than an
/// application does.
const CROWD: usize = 8;
const CROWD_MOST: u32 = 12;
/// The most that mere progress waits longer: people look at that.
const PROGRESS_MOST: u32 = 5;
/// In a crowd, applications are shown at common moments so far apart, times one less than the crowd: those that are read
/// together cost little more than one.
const TOGETHER: Duration = Duration::from_millis(120);

/// When the status of applications was written last, and since when mere progress waits to be shown.
#[derive(Debug, Default)]
pub(super) struct Pacing(Mutex<Known>);

#[derive(Debug)]
struct Known {
    /// What common moments are counted from.
    origin: Instant,
    times: HashMap<AppKey, Times>,
    /// When those that rest were forgotten last.
    swept: Option<Instant>,
}

impl Default for Known {
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
    /// The status of one was written.
    pub(super) fn written(&self, key: &AppKey) {
        let times = Times { written: Some(Instant::now()), progress: None };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).times.insert(key.clone(), times);
    }

    /// Looks at what is known of one, with how much longer than usual everything waits. What it still waits, when it does,
    /// ends at a common moment.
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

    /// How long a change waits for further ones.
    pub(super) fn rest(&self, key: &AppKey) -> Duration {
        self.look(key, |crowd, times| {
            let ago = times.written.map_or(Duration::MAX, |at| at.elapsed());
            (PACE * crowd).saturating_sub(ago).max(GATHER * crowd * crowd)
        })
    }

    /// How long mere progress, seen now, still waits; nothing when it has waited long enough.
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
