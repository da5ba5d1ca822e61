//! Applications whose intent changed lately: one that is edited all the time waits for itself, and nobody else for it.

use std::collections::HashMap;
use std::time::Duration;

use store::AppId;
use tokio::time::Instant;

/// Between two decisions of one application because its intent changed; the first after a rest does not wait.
const EACH: Duration = Duration::from_millis(100);

/// When the changed intent of applications is, or was, due for a decision.
#[derive(Debug, Default)]
pub(crate) struct Changed(HashMap<AppId, Instant>);

impl Changed {
    /// The intent of an application changed: how long it waits to be decided.
    pub(crate) fn rest(&mut self, app: AppId) -> Duration {
        let now = Instant::now();
        self.0.retain(|_, due| *due + EACH > now);
        let due = self
            .0
            .entry(app)
            .and_modify(|due| {
                if *due <= now {
                    *due += EACH
                }
            })
            .or_insert(now);
        due.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_that_is_edited_all_the_time_waits_for_itself_alone() {
        let mut changed = Changed::default();
        assert!(changed.rest(1).is_zero());
        assert_eq!(changed.rest(1), EACH);
        assert_eq!(changed.rest(1), EACH, "it is due already");
        assert!(changed.rest(2).is_zero());
        tokio::time::advance(EACH).await;
        assert_eq!(changed.rest(1), EACH, "it was just decided");
        tokio::time::advance(EACH * 2).await;
        assert!(changed.rest(1).is_zero());
    }
}
