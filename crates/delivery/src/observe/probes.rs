//! Questions to a member whose answers are signs of life: at most one of each sort under way.

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use members::Member;

use crate::handshake::{Trouble, is_expected};

/// An answer, or none.
#[derive(Debug)]
pub(crate) enum Sign {
    /// To a request; with the revision of the member's store.
    Answered(Result<Option<u64>, Trouble>),
    /// To a watch.
    Told(Result<(), Trouble>),
}

/// Questions under way; each is bounded by the member's own time-outs.
#[derive(Default)]
pub(crate) struct Probes {
    asked: FuturesUnordered<BoxFuture<'static, Sign>>,
    request: bool,
    watch: bool,
}

impl Probes {
    /// Asks what is not asked already.
    pub(crate) fn ask(&mut self, member: &Member, expected_uid: &str, watch: bool) {
        if !self.request {
            self.request = true;
            let (member, expected_uid) = (member.clone(), expected_uid.to_owned());
            self.asked.push(Box::pin(async move {
                let outcome = member.probe().await.map_err(|error| Trouble::of(&error));
                Sign::Answered(outcome.and_then(|identity| {
                    is_expected(&member, &identity.uid, &expected_uid).map(|()| identity.revision)
                }))
            }));
        }
        if watch && !self.watch {
            self.watch = true;
            let member = member.clone();
            self.asked.push(Box::pin(async move {
                Sign::Told(member.probe_watch().await.map_err(|error| Trouble::of(&error)))
            }));
        }
    }

    /// The next answer; nothing while nothing is asked.
    pub(crate) async fn next(&mut self) -> Option<Sign> {
        let sign = self.asked.next().await?;
        match sign {
            Sign::Answered(_) => self.request = false,
            Sign::Told(_) => self.watch = false,
        }
        Some(sign)
    }
}
