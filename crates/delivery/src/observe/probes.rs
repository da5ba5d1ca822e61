//! Health probes of a member. At most one request and one watch probe are in flight.

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use members::Member;

use crate::handshake::{Unavailable, is_expected};

/// Outcome of a probe.
#[derive(Debug)]
pub(crate) enum Sign {
    /// Outcome of a request, with the revision of the member's store.
    Answered(Result<Option<u64>, Unavailable>),
    /// Outcome of opening a watch.
    WatchProbed(Result<(), Unavailable>),
}

/// Probes in flight. The member's own timeouts bound each.
#[derive(Default)]
pub(crate) struct Probes {
    asked: FuturesUnordered<BoxFuture<'static, Sign>>,
    request: bool,
    watch: bool,
}

impl Probes {
    /// Starts a request, and a watch probe if `watch` is set, unless one is already in flight.
    pub(crate) fn ask(&mut self, member: &Member, expected_uid: &str, watch: bool) {
        if !self.request {
            self.request = true;
            let (member, expected_uid) = (member.clone(), expected_uid.to_owned());
            self.asked.push(Box::pin(async move {
                let outcome = member.probe().await.map_err(|error| Unavailable::of(&error));
                Sign::Answered(outcome.and_then(|identity| {
                    is_expected(&member, &identity.uid, &expected_uid).map(|()| identity.revision)
                }))
            }));
        }
        if watch && !self.watch {
            self.watch = true;
            let member = member.clone();
            self.asked.push(Box::pin(async move {
                Sign::WatchProbed(member.probe_watch().await.map_err(|error| Unavailable::of(&error)))
            }));
        }
    }

    /// Returns the next outcome, or `None` when no probe is in flight.
    pub(crate) async fn next(&mut self) -> Option<Sign> {
        let sign = self.asked.next().await?;
        match sign {
            Sign::Answered(_) => self.request = false,
            Sign::WatchProbed(_) => self.watch = false,
        }
        Some(sign)
    }
}
