//! Connection settings and limits of one member.

use std::time::Duration;

use secrecy::SecretString;
use vocabulary::ClusterName;

/// Address, trust and credential of one member cluster.
#[derive(Debug, Clone)]
pub struct MemberConfig {
    /// Name of the cluster on the hub.
    pub name: ClusterName,
    /// URL of the API server: `https://host:port[/prefix]`.
    pub server: String,
    /// Certificate authorities that sign the server's certificate, PEM.
    ///
    /// `None` means the authorities that this machine trusts.
    pub ca_pem: Option<Vec<u8>>,
    /// Name that the server's certificate must carry, where it differs from the host in `server`.
    pub tls_server_name: Option<String>,
    /// Proxy to the server: `http://[user:password@]host:port` (CONNECT) or `socks5://…`.
    pub proxy_url: Option<String>,
    /// Bearer token; [`crate::Member::set_token`] replaces it later.
    pub token: SecretString,
    /// Timeouts, concurrency, retries and breaker.
    pub limits: Limits,
}

/// Timeouts and budgets of one member. The defaults suit a member across a WAN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Timeout for a new connection: TCP, proxy and TLS together.
    pub connect_timeout: Duration,
    /// Timeout for each attempt, from sending the request to the last byte of the answer.
    ///
    /// For a watch it limits only the opening.
    pub request_timeout: Duration,
    /// Timeout for one page of a list.
    pub list_timeout: Duration,
    /// Interval between HTTP/2 PINGs, which are also sent while the connection is idle.
    pub ping_interval: Duration,
    /// Timeout for the answer to a PING. After it the connection is closed and everything on it fails.
    pub ping_timeout: Duration,
    /// Maximum number of concurrent requests; further ones queue. Watches and probes do not count.
    pub concurrency: usize,
    /// Maximum number of retries of one request that was answered 429, or 5xx with `Retry-After`.
    pub retries: usize,
    /// First pause before a retry; doubled each time, with jitter.
    ///
    /// The server's `Retry-After` applies instead when it is longer.
    pub retry_pause: Duration,
    /// Maximum pause before a retry, also where the server asks for a longer one.
    pub retry_pause_max: Duration,
    /// Maximum number of retries in this member's budget, shared by all callers.
    pub retry_budget: u32,
    /// Time in which one retry is added back to the budget.
    pub retry_refill: Duration,
    /// Number of consecutive transport failures that open the breaker.
    pub breaker_failures: u32,
    /// First duration for which the breaker stays open; doubled while trial requests fail.
    pub breaker_open: Duration,
    /// Maximum duration for which the breaker stays open before the next trial request.
    pub breaker_open_max: Duration,
    /// Maximum number of objects in one page of a list.
    pub page_size: u32,
    /// Lifetime of one watch request, with a jitter of a quarter either way.
    pub watch_timeout: Duration,
    /// First pause before a watch is retried; doubled each time, with jitter.
    pub watch_pause: Duration,
    /// Maximum pause before a watch is retried.
    pub watch_pause_max: Duration,
    /// Maximum outage after which a broken watch resumes; after a longer one it lists again.
    ///
    /// Exchanging a store for a restored one takes longer, because API server and etcd both stop and start.
    pub resume_within: Duration,
    /// Maximum number of bytes of one answer; a longer one is [`crate::MemberError::TooLarge`].
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
