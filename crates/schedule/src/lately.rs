//! Which applications were decided lately: one that is edited all the time waits for itself, and nobody else for it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use store::AppId;
use tokio::time::Instant;

/// Between two decisions of one application because its intent changed; the first after a rest does not wait.
const EACH: Duration = Duration::from_millis(100);
/// What counts as lately.
const LATELY: Duration = Duration::from_secs(1);
/// So many applications decided lately are a crowd.
const CROWD: usize = 8;

/// When the intent of applications is, or was, due for a decision; when applications were decided last for any reason.
#[derive(Debug, Default)]
pub(crate) struct Lately {
    due: Mutex<HashMap<AppId, Instant>>,
    decided: Mutex<HashMap<AppId, Instant>>,
}

impl Lately {
    /// The intent of an application changed: how long it waits to be decided.
    pub(crate) fn changed(&self, app: AppId) -> Duration {
        let now = Instant::now();
        let mut known = locked(&self.due);
        known.retain(|_, due| *due + EACH > now);
        let due = known
            .entry(app)
            .and_modify(|due| {
                if *due <= now {
                    *due += EACH
                }
            })
            .or_insert(now);
        due.saturating_duration_since(now)
    }

    /// A batch is decided now.
    pub(crate) fn decide(&self, batch: &[AppId]) {
        let now = Instant::now();
        let mut known = locked(&self.decided);
        known.retain(|_, at| now.duration_since(*at) < LATELY);
        known.extend(batch.iter().map(|app| (*app, now)));
    }

    /// Whether many applications are being decided: only then is it worth making one wait for others.
    pub(crate) fn is_crowd(&self) -> bool {
        locked(&self.decided).len() >= CROWD
    }
}

fn locked(known: &Mutex<HashMap<AppId, Instant>>) -> MutexGuard<'_, HashMap<AppId, Instant>> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_that_is_edited_all_the_time_waits_for_itself_alone() {
        let lately = Lately::default();
        assert!(lately.changed(1).is_zero());
        assert_eq!(lately.changed(1), EACH);
        assert_eq!(lately.changed(1), EACH, "it is due already");
        assert!(lately.changed(2).is_zero());
        tokio::time::advance(EACH).await;
        assert_eq!(lately.changed(1), EACH, "it was just decided");
        tokio::time::advance(EACH * 2).await;
        assert!(lately.changed(1).is_zero());
    }

    #[tokio::test(start_paused = true)]
    async fn only_many_that_are_decided_lately_are_a_crowd() {
        let lately = Lately::default();
        for _ in 0..20 {
            lately.decide(&[1]);
        }
        assert!(!lately.is_crowd());
        lately.decide(&(0..8).collect::<Vec<AppId>>());
        assert!(lately.is_crowd());
        tokio::time::advance(LATELY).await;
        lately.decide(&[1]);
        assert!(!lately.is_crowd());
    }
}
