//! Client of the REST API.
//!
//! Every request is repeated while the server is unavailable, until the deadline of the client. A request that changes
//! something has an idempotency key, which its repetitions share. The server therefore carries it out once.

mod endpoint;
mod error;
mod events;
mod releases;
mod resources;
mod retry;
mod send;
mod sse;
mod wait;

use std::time::Duration;

use reqwest::Certificate;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use secrecy::{ExposeSecret, SecretString};

pub use error::{ClientError, ConfigError};
pub use events::{Events, StreamEvent};
pub use resources::{OperationFilter, PageRequest};
pub use wait::Waited;

use endpoint::Endpoint;

/// Timeout for a connection. A server that is away is reported, or another one tried, after this time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Minimum interval between pings of an HTTP/2 connection. Proxies cut connections that are idle for a minute.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
/// Timeout for the answer to a ping; after it the connection is closed.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// How a server is reached.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// URL of the server, such as `https://meridian.example`.
    pub server: String,
    /// Bearer token of the caller.
    pub token: Option<SecretString>,
    /// Certificates, as PEM, of the only CAs that are trusted. `None` trusts those of the system.
    pub ca: Option<String>,
    /// Timeout for a request over all its attempts. It does not apply to waiting and to streams.
    pub deadline: Duration,
    /// Allows `http` to other hosts than this machine. The token is then sent in clear text.
    pub allow_plaintext: bool,
}

/// A client of the REST API. Clones share their connections.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    endpoint: Endpoint,
    deadline: Duration,
}

impl Client {
    /// Makes a client. Sends no request.
    ///
    /// # Errors
    /// [`ConfigError`] names the setting that is wrong.
    pub fn new(config: &ClientConfig) -> Result<Self, ConfigError> {
        let endpoint = Endpoint::parse(&config.server, config.allow_plaintext)?;
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // Fails only if another thread installed one meanwhile, and then that one is used.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("meridian/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            // Without it, requests would go on over the connection of a server that vanished, until the system notices.
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .http2_keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .http2_keep_alive_while_idle(true)
            // A redirect would carry the token to another server.
            .redirect(Policy::none());
        if endpoint.is_loopback() {
            builder = builder.no_proxy();
        }
        if let Some(ca) = &config.ca {
            let certificates =
                Certificate::from_pem_bundle(ca.as_bytes()).map_err(|error| ConfigError::Ca(Some(error)))?;
            if certificates.is_empty() {
                return Err(ConfigError::Ca(None));
            }
            builder = builder.tls_certs_only(certificates);
        } else if endpoint.is_plaintext() {
            // A system without CA certificates can use a server without TLS.
            builder = builder.tls_certs_only([]);
        }
        if let Some(token) = &config.token {
            let mut value =
                HeaderValue::try_from(format!("Bearer {}", token.expose_secret())).map_err(|_| ConfigError::Token)?;
            value.set_sensitive(true);
            builder = builder.default_headers(HeaderMap::from_iter([(AUTHORIZATION, value)]));
        }
        let http = builder.build().map_err(ConfigError::Tls)?;
        Ok(Self { http, endpoint, deadline: config.deadline })
    }

    /// Returns the URL of the server, without the prefix of the API.
    pub fn server(&self) -> String {
        self.endpoint.to_string()
    }
}
