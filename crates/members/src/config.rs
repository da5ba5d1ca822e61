//! What is needed to talk to one member, and how hard we may lean on it.

use std::time::Duration;

use secrecy::SecretString;
use vocabulary::ClusterName;

/// Address, trust and credential of one member cluster.
#[derive(Debug, Clone)]
pub struct MemberConfig {
    /// Name of the cluster on the hub.
    pub name: ClusterName,
    /// `https://host:port[/prefix]` of the API server.
    pub server: String,
    /// Certificate authorities that sign the server's certificate, PEM. `None`: those this machine trusts.
    pub ca_pem: Option<Vec<u8>>,
    /// Name the server's certificate must carry, where it differs from the host in `server`.
    pub tls_server_name: Option<String>,
    /// `http://[user:password@]host:port` (CONNECT) or `socks5://…` through which the server is reached.
    pub proxy_url: Option<String>,
    /// Bearer token; replaced later by [`crate::Member::set_token`].
    pub token: SecretString,
    /// Time-outs, concurrency, retries, breaker.
    pub limits: Limits,
}

/// Time-outs and budgets of one member. The defaults suit a member across a WAN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// TCP, proxy and TLS together, for a new connection.
    pub connect_timeout: Duration,
    /// From sending a request to its last byte, each attempt. Not for watches.
    pub request_timeout: Duration,
    /// The same for one page of a list.
    pub list_timeout: Duration,
    /// HTTP/2 PING interval, sent while idle too.
    pub ping_interval: Duration,
    /// A connection whose PING is not answered in this time is closed and everything on it fails.
    pub ping_timeout: Duration,
    /// Requests under way at once; further ones queue. Watches do not count.
    pub concurrency: usize,
    /// Repetitions of one request that the server answered with 429 or 503.
    pub retries: usize,
    /// First pause before a repetition; doubled each time, jittered; the server's `Retry-After` wins when longer.
    pub retry_pause: Duration,
    /// No pause is longer, whatever the server asks for.
    pub retry_pause_max: Duration,
    /// Repetitions this member may have in hand at most, all callers together.
    pub retry_budget: u32,
    /// Time in which one repetition is added back to the budget.
    pub retry_refill: Duration,
    /// Consecutive transport failures that open the breaker.
    pub breaker_failures: u32,
    /// First time the breaker stays open; doubled while trial requests fail.
    pub breaker_open: Duration,
    /// Longest time the breaker stays open before the next trial request.
    pub breaker_open_max: Duration,
    /// Objects in one page of a list.
    pub page_size: u32,
    /// Life of one watch request; jittered by a quarter either way.
    pub watch_timeout: Duration,
    /// First pause before a watch is tried again; doubled each time, jittered.
    pub watch_pause: Duration,
    /// Longest pause before a watch is tried again.
    pub watch_pause_max: Duration,
    /// A watch that broke goes on where it was when it is open again within this time; after more it lists again. To
    /// exchange a store for a restored one, API server and etcd both stop and start: that takes longer.
    pub resume_within: Duration,
    /// Bytes of one answer; a longer one is [`crate::MemberError::TooLarge`].
    pub answer_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(10),
            list_timeout: Duration::from_secs(30),
            ping_interval: Duration::from_secs(5),
            ping_timeout: Duration::from_secs(5),
            concurrency: 32,
            retries: 3,
            retry_pause: Duration::from_millis(200),
            retry_pause_max: Duration::from_secs(5),
            retry_budget: 20,
            retry_refill: Duration::from_millis(500),
            breaker_failures: 5,
            breaker_open: Duration::from_secs(2),
            breaker_open_max: Duration::from_secs(30),
            page_size: 500,
            watch_timeout: Duration::from_mins(1),
            watch_pause: Duration::from_millis(200),
            watch_pause_max: Duration::from_secs(15),
            resume_within: Duration::from_secs(1),
            answer_max: 64 << 20,
        }
    }
}
