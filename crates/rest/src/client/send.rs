//! Sends requests, and repeats them while the server is unavailable.

use std::error::Error;
use std::io;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Method, Response, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use uuid::Uuid;
use vocabulary::chain;

use super::retry::{Delays, Patience, parse_retry_after};
use super::{Client, ClientError};
use crate::{IDEMPOTENCY_KEY, Problem};

/// Timeout for one attempt of a request that the server answers at once.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(20);
/// Maximum number of characters kept of a body that is no problem.
const BODY_KEPT: usize = 1_000;

/// A request, as often as it is sent.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) url: Url,
    /// The body, as JSON.
    body: Option<Vec<u8>>,
    /// Key that all attempts share.
    key: Option<Uuid>,
    patience: Patience,
    attempt_timeout: Duration,
}

impl Request {
    /// Returns a request that reads.
    pub(super) fn get(url: Url) -> Self {
        Self {
            method: Method::GET,
            url,
            body: None,
            key: None,
            patience: Patience::Unavailable,
            attempt_timeout: ATTEMPT_TIMEOUT,
        }
    }

    /// Returns a request that changes something, with a new idempotency key.
    pub(super) fn post<T: Serialize>(url: Url, body: &T) -> Self {
        let body = serde_json::to_vec(body).expect("types of the API are plain data");
        Self { method: Method::POST, body: Some(body), key: Some(Uuid::new_v4()), ..Self::get(url) }
    }

    /// Sets the timeout for an attempt, for a request that the server answers later.
    pub(super) fn with_attempt_timeout(self, attempt_timeout: Duration) -> Self {
        Self { attempt_timeout, ..self }
    }

    /// Repeats the request after every error of the server itself.
    pub(super) fn with_any_server_error(self) -> Self {
        Self { patience: Patience::AnyServerError, ..self }
    }

    fn repeats_any_error(&self) -> bool {
        self.patience == Patience::AnyServerError
    }

    /// Method and path, for messages.
    pub(super) fn title(&self) -> String {
        format!("{} {}", self.method, self.url.path())
    }
}

/// Result of one attempt that may be repeated.
struct Unavailable {
    /// What happened.
    last: String,
    retry_after: Option<Duration>,
}

/// Result of one attempt.
enum Attempt {
    Answered(Vec<u8>),
    Failed(ClientError),
    Unavailable(Unavailable),
}

impl Client {
    /// Sends a request until it is answered or the time is over.
    ///
    /// # Errors
    /// The refusal of the server, or [`ClientError::Unreachable`] when the time is over.
    pub(super) async fn send<T: DeserializeOwned>(
        &self,
        request: &Request,
        deadline: Duration,
    ) -> Result<T, ClientError> {
        let begun = Instant::now();
        let end = begun + deadline;
        let mut delays = Delays::new();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let unavailable = match self.attempt(request, left).await {
                Attempt::Answered(body) => {
                    return serde_json::from_slice(&body).map_err(|error| self.form(&request.title(), &error));
                }
                Attempt::Failed(error) => return Err(error),
                Attempt::Unavailable(unavailable) => unavailable,
            };
            let delay = delays.next(unavailable.retry_after);
            if Instant::now() + delay >= end {
                return Err(ClientError::Unreachable {
                    server: self.server(),
                    tried: begun.elapsed(),
                    last: unavailable.last,
                });
            }
            tokio::time::sleep(delay).await;
        }
    }

    async fn attempt(&self, request: &Request, left: Duration) -> Attempt {
        let timeout = request.attempt_timeout.min(left);
        let sent = self.start(request).timeout(timeout).send().await;
        let response = match sent {
            Ok(response) => response,
            Err(error) => return self.unanswered(error),
        };
        if response.status().is_success() {
            return match response.bytes().await {
                Ok(body) => Attempt::Answered(body.to_vec()),
                Err(error) => self.unanswered(error),
            };
        }
        let status = response.status().as_u16();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| parse_retry_after(value.to_str().ok()?));
        let error = self.refusal(&request.title(), response).await;
        // A server that names itself says whether another attempt can succeed; a proxy does not.
        let fails_again = error.problem().is_some_and(|problem| !problem.retryable) && !request.repeats_any_error();
        if request.patience.repeats(status) && !fails_again {
            Attempt::Unavailable(Unavailable { last: error.to_string(), retry_after })
        } else {
            Attempt::Failed(error)
        }
    }

    /// Builds one attempt of a request, without a timeout.
    pub(super) fn start(&self, request: &Request) -> reqwest::RequestBuilder {
        let mut builder = self.http.request(request.method.clone(), request.url.clone());
        if let Some(body) = &request.body {
            builder = builder.header(CONTENT_TYPE, "application/json").body(body.clone());
        }
        if let Some(key) = request.key {
            builder = builder.header(IDEMPOTENCY_KEY, key.to_string());
        }
        builder
    }

    fn unanswered(&self, error: reqwest::Error) -> Attempt {
        // The message of `reqwest` repeats the URL with its query.
        let error = error.without_url();
        let last = chain(&error);
        if is_certificate_refused(&error) {
            // Another attempt gets the same certificate.
            Attempt::Failed(ClientError::Unreachable { server: self.server(), tried: Duration::ZERO, last })
        } else {
            Attempt::Unavailable(Unavailable { last, retry_after: None })
        }
    }

    /// Converts an answer that is no success.
    pub(super) async fn refusal(&self, request: &str, response: Response) -> ClientError {
        let status = response.status().as_u16();
        let body = response.bytes().await.unwrap_or_default();
        match serde_json::from_slice::<Problem>(&body) {
            // The status of the answer counts, and not the one that the body repeats.
            Ok(problem) => ClientError::Refused(Box::new(Problem { status, ..problem })),
            Err(_) => ClientError::Status {
                server: self.server(),
                request: request.to_owned(),
                status,
                body: String::from_utf8_lossy(&body).chars().take(BODY_KEPT).collect(),
            },
        }
    }

    /// Returns the error of an answer that cannot be read.
    pub(super) fn form(&self, request: &str, error: &serde_json::Error) -> ClientError {
        ClientError::Form { server: self.server(), request: request.to_owned(), why: error.to_string() }
    }
}

/// Returns whether a connection failed because the certificate of the server is not trusted.
fn is_certificate_refused(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        // The source of an I/O error skips the error in it.
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let tls = inner.and_then(|inner| inner.downcast_ref()).or_else(|| error.downcast_ref());
        if matches!(tls, Some(rustls::Error::InvalidCertificate(_))) {
            return true;
        }
        next = error.source();
    }
    false
}
