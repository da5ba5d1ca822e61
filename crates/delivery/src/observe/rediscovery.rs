//! Schedules further handshakes, which read a member's kinds and permissions while its session runs.

use std::time::Duration;

use futures::future::BoxFuture;
use members::Member;
use tokio::time::Instant;

use crate::handshake::{MemberInfo, Unavailable, handshake};

/// Interval between two handshakes while the member does not serve or grant a kind of some row.
const MISSING_KIND_INTERVAL: Duration = Duration::from_secs(10);
/// Pauses between handshakes after a member joined again.
///
/// The member's controllers aggregate roles a moment after the roles changed.
const AFTER_JOIN: [Duration; 3] = [Duration::from_secs(2), Duration::from_secs(8), Duration::from_secs(30)];

/// Runs one handshake at a time.
pub(crate) struct Rediscovery {
    interval: Duration,
    due: Instant,
    /// Pauses before the next handshakes, in reverse order. `interval` applies afterwards.
    pauses: Vec<Duration>,
    asked: Option<BoxFuture<'static, Result<MemberInfo, Unavailable>>>,
}

impl Rediscovery {
    /// Schedules the first handshake at `first`, and the others at `interval`.
    pub(crate) fn begin(first: Instant, interval: Duration) -> Self {
        Self { interval, due: first, pauses: Vec::new(), asked: None }
    }

    /// Schedules handshakes soon, because a member that joined again may grant more or less than before.
    ///
    /// A new credential has the same effect.
    pub(crate) fn joined_again(&mut self) {
        self.due = Instant::now();
        self.pauses = AFTER_JOIN.into_iter().rev().collect();
    }

    /// Brings the next handshake forward, because rows wait for kinds.
    pub(crate) fn lacks_kinds(&mut self) {
        self.due = self.due.min(Instant::now() + MISSING_KIND_INTERVAL);
    }

    /// Returns the outcome of the next handshake, which starts when it is due.
    ///
    /// # Cancel safety
    /// Safe: the next call continues a handshake in flight.
    pub(crate) async fn next(&mut self, member: &Member, expected_uid: &str) -> Result<MemberInfo, Unavailable> {
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
