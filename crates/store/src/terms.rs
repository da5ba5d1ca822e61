//! Terms of one lease as the process that wants it sees them, and work that runs during each term.

use std::ops::ControlFlow;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{Claim, Term};

/// Current and future terms of a lease that this process wants. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Terms(watch::Receiver<Option<Term>>);

impl Terms {
    pub(crate) fn new(terms: watch::Receiver<Option<Term>>) -> Self {
        Self(terms)
    }

    /// Returns the current term, if this process holds the lease.
    pub fn current(&self) -> Option<Term> {
        self.0.borrow().clone()
    }

    /// Waits for a term and returns its claim; returns `None` when the keeper no longer keeps the lease.
    ///
    /// # Cancel safety
    /// A term is not lost: the next call returns the same claim while the term lasts.
    pub async fn begin(&mut self) -> Option<Claim> {
        loop {
            if let Some(term) = self.0.borrow_and_update().as_ref() {
                return Some(term.claim.clone());
            }
            self.0.changed().await.ok()?;
        }
    }

    /// Completes when the term of `claim` is over, or the keeper no longer keeps the lease.
    ///
    /// # Cancel safety
    /// The call may be dropped and repeated.
    pub async fn end_of(&mut self, claim: &Claim) {
        loop {
            if self.0.borrow_and_update().as_ref().map(|term| &term.claim) != Some(claim) {
                return;
            }
            if self.0.changed().await.is_err() {
                return;
            }
        }
    }

    /// Runs `work` in each term, until `shutdown` or until the keeper no longer keeps the lease.
    ///
    /// `work` receives the claim of the term and a token. The token is cancelled at the end of the term and at shutdown.
    /// This function waits until `work` returns. After `ControlFlow::Break` it returns. After `ControlFlow::Continue` it
    /// waits for `pause` and runs `work` again, in the same term where the lease is still held.
    ///
    /// # Guarantees
    /// - `work` never runs twice at a time.
    /// - A term that ended during `work` is never continued: the next run has another claim.
    pub async fn run_in_each<W>(
        mut self,
        pause: Duration,
        shutdown: CancellationToken,
        mut work: impl FnMut(Claim, CancellationToken) -> W,
    ) where
        W: Future<Output = ControlFlow<()>>,
    {
        loop {
            let claim = tokio::select! {
                () = shutdown.cancelled() => return,
                claim = self.begin() => claim,
            };
            let Some(claim) = claim else { return };
            let token = shutdown.child_token();
            let running = work(claim.clone(), token.clone());
            tokio::pin!(running);
            let next = tokio::select! {
                next = &mut running => next,
                () = self.end_of(&claim) => {
                    token.cancel();
                    running.await
                }
            };
            if next.is_break() {
                return;
            }
            tokio::select! { () = shutdown.cancelled() => return, () = tokio::time::sleep(pause) => {} }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio::sync::mpsc;

    use super::*;

    /// Start or end of work that a test observes.
    #[derive(Debug, PartialEq, Eq)]
    enum Observed {
        Started(i64),
        Ended(i64),
    }

    fn term(epoch: i64) -> Term {
        Term { claim: Claim { lease: "work".to_owned(), epoch }, valid_until: Instant::now() }
    }

    #[tokio::test(start_paused = true)]
    async fn work_runs_in_each_term_and_ends_with_it() {
        let (sender, receiver) = watch::channel(None);
        let (observed, mut events) = mpsc::unbounded_channel();
        let shutdown = CancellationToken::new();
        let running = Terms::new(receiver).run_in_each(Duration::from_secs(1), shutdown.clone(), |claim, token| {
            let observed = observed.clone();
            async move {
                observed.send(Observed::Started(claim.epoch)).unwrap();
                token.cancelled().await;
                observed.send(Observed::Ended(claim.epoch)).unwrap();
                ControlFlow::Continue(())
            }
        });
        let acts = async {
            sender.send_replace(Some(term(1)));
            assert_eq!(events.recv().await, Some(Observed::Started(1)));
            // A renewal of the same term changes nothing; the next term ends this one.
            sender.send_replace(Some(term(1)));
            sender.send_replace(Some(term(2)));
            assert_eq!(events.recv().await, Some(Observed::Ended(1)));
            assert_eq!(events.recv().await, Some(Observed::Started(2)));
            // The lease is lost and comes back.
            sender.send_replace(None);
            assert_eq!(events.recv().await, Some(Observed::Ended(2)));
            sender.send_replace(Some(term(3)));
            assert_eq!(events.recv().await, Some(Observed::Started(3)));
            shutdown.cancel();
            assert_eq!(events.recv().await, Some(Observed::Ended(3)));
        };
        tokio::join!(running, acts);
    }

    #[tokio::test(start_paused = true)]
    async fn work_is_repeated_in_a_term_until_it_breaks() {
        let (sender, receiver) = watch::channel(Some(term(1)));
        let mut runs = 0;
        let running = Terms::new(receiver).run_in_each(Duration::from_secs(1), CancellationToken::new(), |_, _| {
            runs += 1;
            let next = if runs < 3 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) };
            async move { next }
        });
        running.await;
        assert_eq!(runs, 3);
        drop(sender);
    }

    #[tokio::test]
    async fn work_ends_when_the_lease_is_no_longer_kept() {
        let (sender, receiver) = watch::channel(None);
        drop(sender);
        let running = Terms::new(receiver)
            .run_in_each(Duration::ZERO, CancellationToken::new(), |_, _| async { unreachable!("no term began") });
        running.await;
    }
}
