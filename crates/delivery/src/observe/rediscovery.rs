//! When a member is asked again what it serves and what we may do there, beside all else that goes on.

use std::time::Duration;

use futures::future::BoxFuture;
use members::Member;
use tokio::time::Instant;

use crate::handshake::{MemberInfo, Trouble, handshake};

/// Interval between two questions while rows are of kinds that the member does not serve or does not grant.
const MISSING_KIND_INTERVAL: Duration = Duration::from_secs(10);
/// Pauses after a member was joined again: its controllers add up roles a moment after they were changed.
const AFTER_JOIN: [Duration; 3] = [Duration::from_secs(2), Duration::from_secs(8), Duration::from_secs(30)];

/// Asks one question at a time.
pub(crate) struct Rediscovery {
    interval: Duration,
    due: Instant,
    /// Pauses before the next questions, the last first; afterwards the interval.
    pauses: Vec<Duration>,
    asked: Option<BoxFuture<'static, Result<MemberInfo, Trouble>>>,
}

impl Rediscovery {
    /// First at `first`, then in intervals.
    pub(crate) fn begin(first: Instant, interval: Duration) -> Self {
        Self { interval, due: first, pauses: Vec::new(), asked: None }
    }

    /// The member was joined again, or its credential is new: it may grant more, or less, than before.
    pub(crate) fn joined_again(&mut self) {
        self.due = Instant::now();
        self.pauses = AFTER_JOIN.into_iter().rev().collect();
    }

    /// Rows wait for kinds.
    pub(crate) fn lacks_kinds(&mut self) {
        self.due = self.due.min(Instant::now() + MISSING_KIND_INTERVAL);
    }

    /// The next answer. Asks when it is time to.
    ///
    /// # Cancel safety
    /// Safe: a question under way goes on with the next call.
    pub(crate) async fn next(&mut self, member: &Member, expected_uid: &str) -> Result<MemberInfo, Trouble> {
        if self.asked.is_none() {
            tokio::time::sleep_until(self.due).await;
            let (member, expected_uid) = (member.clone(), expected_uid.to_owned());
            self.asked = Some(Box::pin(async move { handshake(&member, &expected_uid).await }));
        }
        let answer = match &mut self.asked {
            Some(asked) => asked.await,
            None => std::future::pending().await,
        };
        self.asked = None;
        self.due = Instant::now() + self.pauses.pop().unwrap_or(self.interval);
        answer
    }
}
