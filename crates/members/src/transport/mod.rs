//! HTTP/2 transport to one member, with keep-alive PINGs, a retry budget and a breaker.
//!
//! kube's own client uses HTTP/1.1 only, retries for minutes and hides `Retry-After`. Therefore this module uses hyper
//! directly. Watches have a connection of their own, so a saturated watch connection never delays a write, and vice
//! versa.

mod breaker;
mod budget;
mod dial;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, ResponseFuture};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;
use vocabulary::{ClusterName, chain};

pub use breaker::BreakerState;

use crate::config::{Limits, MemberConfig};
use crate::error::{ConfigPart, MemberError};
use breaker::Breaker;
use budget::Budget;

/// Connection that carries a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    Ordinary,
    Watch,
}

/// A request, which is built again for every attempt.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    /// Path and query below the server's URL.
    pub(crate) path: String,
    pub(crate) content_type: Option<&'static str>,
    pub(crate) accept: &'static str,
    pub(crate) body: Bytes,
}

impl Call {
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self {
            method: Method::GET,
            path: path.into(),
            content_type: None,
            accept: "application/json",
            body: Bytes::new(),
        }
    }

    pub(crate) fn send(method: Method, path: String, content_type: &'static str, body: Vec<u8>) -> Self {
        Self { method, content_type: Some(content_type), body: body.into(), ..Self::get(path) }
    }
}

impl MemberConfig {
    /// Checks whether a member can be connected with this configuration.
    ///
    /// The check sends nothing and reads nothing of this machine.
    pub fn check(&self) -> Result<(), MemberError> {
        let server = Base::parse(&self.server).map_err(|message| (ConfigPart::Server, message));
        let refuse = |(part, message)| MemberError::Config { cluster: self.name.clone(), part, message };
        server.and_then(|_| dial::check(self)).map_err(refuse)
    }
}

type Send2 = Box<dyn Fn(Request<Full<Bytes>>) -> ResponseFuture + Send + Sync>;

/// Connections, token, breaker and budget of one member.
pub(crate) struct Transport {
    cluster: ClusterName,
    base: Base,
    token: ArcSwap<HeaderValue>,
    ordinary: Send2,
    watching: Send2,
    breaker: Breaker,
    budget: Budget,
    limits: Limits,
    /// Time of the member's last successful answer.
    heard: Mutex<Instant>,
}

/// The parts of the server's URL in front of every path.
struct Base {
    authority: String,
    prefix: String,
}

impl Transport {
    pub(crate) fn new(config: &MemberConfig) -> Result<Self, MemberError> {
        let refuse = |(part, message)| MemberError::Config { cluster: config.name.clone(), part, message };
        let limits = &config.limits;
        let lane = || -> Result<Send2, (ConfigPart, String)> {
            let connector = dial::Connector::new(config)?;
            let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new())
                .timer(TokioTimer::new())
                .pool_timer(TokioTimer::new())
                .http2_keep_alive_interval(limits.ping_interval)
                .http2_keep_alive_timeout(limits.ping_timeout)
                .http2_keep_alive_while_idle(true)
                // With the default window, lists across a WAN would wait for a window update every 64 KiB.
                .http2_initial_stream_window_size(1 << 20)
                .http2_initial_connection_window_size(8 << 20)
                .build(connector);
            Ok(Box::new(move |request| client.request(request)))
        };
        Ok(Self {
            cluster: config.name.clone(),
            base: Base::parse(&config.server).map_err(|message| refuse((ConfigPart::Server, message)))?,
            token: ArcSwap::from_pointee(
                bearer(&config.token).map_err(|message| refuse((ConfigPart::Token, message)))?,
            ),
            ordinary: lane().map_err(refuse)?,
            watching: lane().map_err(refuse)?,
            breaker: Breaker::new(limits),
            budget: Budget::new(limits),
            limits: limits.clone(),
            heard: Mutex::new(Instant::now()),
        })
    }

    pub(crate) fn cluster(&self) -> &ClusterName {
        &self.cluster
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns the time of the member's last successful answer.
    ///
    /// An error answer does not count, because a gateway in front of the member may have sent it.
    pub(crate) fn heard(&self) -> Instant {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn breaker_state(&self) -> BreakerState {
        self.breaker.state()
    }

    /// Replaces the token from the next request on, also on connections that exist already.
    pub(crate) fn set_token(&self, token: &SecretString) -> Result<(), MemberError> {
        let refuse = |message| MemberError::Config { cluster: self.cluster.clone(), part: ConfigPart::Token, message };
        let header = bearer(token).map_err(refuse)?;
        self.token.store(Arc::new(header));
        Ok(())
    }

    /// Sends an ordinary request with breaker, concurrency slot, timeout and bounded retries.
    ///
    /// See `Budget::retrying` for the answers that are retried, such as 429 and 503.
    pub(crate) async fn call(&self, call: &Call) -> Result<Bytes, MemberError> {
        self.budget
            .retrying(|| async {
                self.admit()?;
                let _slot = self.budget.slot().await;
                self.attempt(Lane::Ordinary, call, self.limits.request_timeout).await
            })
            .await
    }

    /// Sends one attempt even while the breaker is open. The health probe is the breaker's trial call.
    pub(crate) async fn probe(&self, call: &Call) -> Result<Bytes, MemberError> {
        self.attempt(Lane::Ordinary, call, self.limits.request_timeout).await
    }

    /// Requests one page of a list on the watch connection.
    ///
    /// The request is not retried here, because the watch has its own pauses.
    pub(crate) async fn page(&self, call: &Call) -> Result<Bytes, MemberError> {
        self.admit()?;
        let _slot = self.budget.slot().await;
        self.attempt(Lane::Watch, call, self.limits.list_timeout).await
    }

    /// Opens a watch. The returned body has no timeout of its own.
    pub(crate) async fn open(&self, call: &Call) -> Result<Incoming, MemberError> {
        self.admit()?;
        self.open_anyway(call).await
    }

    /// Opens a watch even while the breaker is open.
    pub(crate) async fn open_anyway(&self, call: &Call) -> Result<Incoming, MemberError> {
        let after = self.limits.request_timeout;
        let opening = async {
            let response = self.respond(Lane::Watch, call).await?;
            if response.status().is_success() { Ok(response.into_body()) } else { Err(self.refusal(response).await) }
        };
        let result = match tokio::time::timeout(after, opening).await {
            Ok(result) => result,
            Err(_) => Err(self.timed_out(after)),
        };
        self.note(result)
    }

    /// Converts a connection error outside a call, such as a body that broke off.
    pub(crate) fn broken(&self, error: &(dyn std::error::Error + 'static)) -> MemberError {
        MemberError::Unreachable { cluster: self.cluster.clone(), message: chain(error) }
    }

    fn admit(&self) -> Result<(), MemberError> {
        self.breaker.admit().map_err(|retry_in| MemberError::BreakerOpen { cluster: self.cluster.clone(), retry_in })
    }

    fn note<T>(&self, result: Result<T, MemberError>) -> Result<T, MemberError> {
        match &result {
            Err(error) if error.is_transport() => self.breaker.failed(),
            _ => self.breaker.answered(),
        }
        if result.is_ok() {
            *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        }
        result
    }

    fn timed_out(&self, after: Duration) -> MemberError {
        MemberError::TimedOut { cluster: self.cluster.clone(), after }
    }

    async fn attempt(&self, lane: Lane, call: &Call, within: Duration) -> Result<Bytes, MemberError> {
        let result = match tokio::time::timeout(within, self.exchange(lane, call)).await {
            Ok(result) => result,
            Err(_) => Err(self.timed_out(within)),
        };
        self.note(result)
    }

    async fn exchange(&self, lane: Lane, call: &Call) -> Result<Bytes, MemberError> {
        let response = self.respond(lane, call).await?;
        if response.status().is_success() {
            self.collect(response.into_body()).await
        } else {
            Err(self.refusal(response).await)
        }
    }

    async fn respond(&self, lane: Lane, call: &Call) -> Result<Response<Incoming>, MemberError> {
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(self.base.uri(&call.path).map_err(|error| MemberError::protocol(&self.cluster, error))?)
            .header(header::ACCEPT, call.accept)
            .header(header::USER_AGENT, concat!("meridian/", env!("CARGO_PKG_VERSION")));
        if let Some(content_type) = call.content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        let mut request =
            request.body(Full::new(call.body.clone())).map_err(|error| MemberError::protocol(&self.cluster, error))?;
        let token = HeaderValue::clone(&self.token.load());
        request.headers_mut().insert(header::AUTHORIZATION, token);
        let send = match lane {
            Lane::Ordinary => &self.ordinary,
            Lane::Watch => &self.watching,
        };
        send(request).await.map_err(|error| self.broken(&error))
    }

    async fn collect(&self, body: Incoming) -> Result<Bytes, MemberError> {
        let limit = self.limits.answer_max;
        match Limited::new(body, limit).collect().await {
            Ok(collected) => Ok(collected.to_bytes()),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(MemberError::TooLarge {
                message: format!("cluster {}: the answer is larger than {limit} bytes", self.cluster),
            }),
            Err(error) => Err(self.broken(&*error)),
        }
    }

    async fn refusal(&self, response: Response<Incoming>) -> MemberError {
        let code = response.status().as_u16();
        let retry_after = response
            .headers()
            .get(header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .map(Duration::from_secs);
        match self.collect(response.into_body()).await {
            Ok(body) => MemberError::from_answer(&self.cluster, code, retry_after, &body),
            Err(error) => error,
        }
    }
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transport")
            .field("cluster", &self.cluster)
            .field("server", &self.base.authority)
            .field("breaker", &self.breaker.state())
            .finish_non_exhaustive()
    }
}

impl Base {
    fn parse(server: &str) -> Result<Self, String> {
        let refuse = || format!("server {server:?} is not a URL like https://host:6443");
        let uri: Uri = server.parse().map_err(|_| refuse())?;
        let authority = uri.authority().ok_or_else(refuse)?;
        if uri.scheme_str() != Some("https") {
            return Err(format!("server {server:?} must begin with https://"));
        }
        if authority.as_str().contains('@') {
            return Err("the server's URL must not carry a user".into());
        }
        Ok(Self { authority: authority.to_string(), prefix: uri.path().trim_end_matches('/').to_owned() })
    }

    fn uri(&self, path: &str) -> Result<Uri, http::uri::InvalidUri> {
        format!("https://{}{}{path}", self.authority, self.prefix).parse()
    }
}

fn bearer(token: &SecretString) -> Result<HeaderValue, String> {
    let mut header = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret().trim()))
        .map_err(|_| "the token holds characters that cannot be sent".to_owned())?;
    header.set_sensitive(true);
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_path_is_kept_and_plain_http_is_refused() {
        let base = Base::parse("https://rancher.example/k8s/clusters/c-1/").unwrap();
        assert_eq!(
            base.uri("/api/v1/nodes?limit=1").unwrap(),
            "https://rancher.example/k8s/clusters/c-1/api/v1/nodes?limit=1"
        );
        for server in ["http://host:6443", "host:6443", "https://a:b@host"] {
            assert!(Base::parse(server).is_err(), "{server}");
        }
    }
}
