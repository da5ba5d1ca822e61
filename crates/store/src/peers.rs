//! Other processes that hints are sent to: known from what they sent.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

/// How often a process says that it is there.
pub(crate) const HELLO: Duration = Duration::from_secs(10);
/// One that said nothing for so long is gone.
const GONE: Duration = Duration::from_secs(35);

/// When each other process was heard last.
#[derive(Debug, Default)]
pub(crate) struct Peers(HashMap<String, Instant>);

impl Peers {
    /// One was heard. True when it was not known to be there: it may have missed what was not sent because of that.
    pub(crate) fn heard(&mut self, sender: &str) -> bool {
        self.sweep();
        self.0.insert(sender.to_owned(), Instant::now()).is_none()
    }

    /// Whether anybody else is there.
    pub(crate) fn any(&mut self) -> bool {
        self.sweep();
        !self.0.is_empty()
    }

    fn sweep(&mut self) {
        self.0.retain(|_, at| at.elapsed() < GONE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_is_silent_is_gone_and_news_when_heard_again() {
        let mut peers = Peers::default();
        assert!(!peers.any());
        assert!(peers.heard("other"));
        assert!(!peers.heard("other"));
        tokio::time::advance(HELLO * 3).await;
        assert!(peers.any(), "two of its words may be lost");
        tokio::time::advance(GONE).await;
        assert!(!peers.any());
        assert!(peers.heard("other"));
    }
}
