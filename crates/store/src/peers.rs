//! Peers: other processes, which receive hints. A process finds its peers by the notifications that they send.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

/// Interval between signs of life of a process.
pub(crate) const HELLO: Duration = Duration::from_secs(10);
/// Timeout for a notification of a peer, after which the peer counts as gone.
const GONE: Duration = Duration::from_secs(35);

/// Time of the last notification of each peer, by its id.
#[derive(Debug, Default)]
pub(crate) struct Peers(HashMap<String, Instant>);

impl Peers {
    /// Records a notification of a peer. Returns true when the peer was absent before.
    ///
    /// Such a peer may have missed hints, because hints are not sent while no peer is present.
    pub(crate) fn heard(&mut self, sender: &str) -> bool {
        self.sweep();
        self.0.insert(sender.to_owned(), Instant::now()).is_none()
    }

    /// Whether any peer is present.
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
    async fn silent_peer_is_gone_and_counts_as_new_on_return() {
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
