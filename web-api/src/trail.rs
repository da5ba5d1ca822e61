//! Frame of every request: its id, its deadline, its error body, and its row of the audit.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use parking_lot::Mutex;
use store::AuditEntry;
use tokio::task::JoinError;
use uuid::Uuid;
use vocabulary::{OperationId, chain};

use crate::api::Api;
use crate::code::Code;
use crate::failure::Failure;

/// Timeout for an answer, besides the time that the client asked to wait.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// Maximum time that a client may ask to wait, in seconds.
pub(crate) const WAIT_SECONDS_MAX: u64 = 60;
/// Header with the identity of the request.
const REQUEST_ID: &str = "x-request-id";
/// Actor of requests that prove no identity.
const ANONYMOUS: &str = "anonymous";

/// What the audit records of a request, collected while the request is handled.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trail(Arc<Mutex<Note>>);

#[derive(Debug, Clone, Default)]
struct Note {
    actor: Option<String>,
    operation: Option<OperationId>,
    reason: String,
    is_dry_run: bool,
}

impl Trail {
    pub(crate) fn set_actor(&self, actor: String) {
        self.0.lock().actor = Some(actor);
    }

    pub(crate) fn set_operation(&self, operation: OperationId) {
        self.0.lock().operation = Some(operation);
    }

    pub(crate) fn set_reason(&self, reason: &str) {
        reason.clone_into(&mut self.0.lock().reason);
    }

    /// Marks the request as one that changes nothing.
    pub(crate) fn set_dry_run(&self) {
        self.0.lock().is_dry_run = true;
    }

    /// Returns the row of the audit; `None` where the request is no change.
    ///
    /// Requests over a limit are counted by the metrics alone: rows for them would be without limit.
    fn entry(
        &self,
        method: &Method,
        path: &str,
        status: StatusCode,
        failure: Option<&Failure>,
        id: &str,
    ) -> Option<AuditEntry> {
        let note = self.0.lock().clone();
        if note.is_dry_run || failure.is_some_and(|failure| failure.code == Code::RateLimited) {
            return None;
        }
        let refusal = failure.map(|failure| format!("{}: {}", failure.code.text().word, failure.detail));
        let reason = match (note.reason.is_empty(), refusal) {
            (_, None) => note.reason,
            (true, Some(refusal)) => refusal,
            (false, Some(refusal)) => format!("{refusal} (reason given: {})", note.reason),
        };
        Some(AuditEntry {
            at: Timestamp::now(),
            actor: note.actor.unwrap_or_else(|| ANONYMOUS.to_owned()),
            method: method.to_string(),
            path: path.to_owned(),
            operation: note.operation,
            status: status.as_u16(),
            reason,
            request_id: id.to_owned(),
        })
    }
}

/// Returns whether a request is a verb of an operation: those have connections of their own, and no limits.
pub(crate) fn is_control(method: &Method, uri: &Uri) -> bool {
    let rest = uri.path().strip_prefix(rest::PREFIX).and_then(|path| path.strip_prefix("/operations/"));
    *method == Method::POST && rest.is_some_and(|rest| rest.contains('/'))
}

/// Handles a request: gives it an id, answers in time, writes the error body and the audit.
///
/// A change runs in a task of its own: a client that closes its connection ends neither the change nor its audit.
pub(crate) async fn record(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let id = Uuid::now_v7().to_string();
    let trail = Trail::default();
    request.extensions_mut().insert(trail.clone());
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let is_change = !matches!(method, Method::GET | Method::HEAD | Method::OPTIONS);
    let timeout = ANSWER_TIMEOUT + if is_change { Duration::ZERO } else { asked_to_wait(&uri) };
    let work = {
        let (api, id, method, uri) = (api.clone(), id.clone(), method.clone(), uri.clone());
        async move {
            let response = next.run(request).await;
            if is_change {
                let (status, failure) = (response.status(), response.extensions().get::<Failure>().cloned());
                if let Some(entry) = trail.entry(&method, uri.path(), status, failure.as_ref(), &id) {
                    write_audit(&api, is_control(&method, &uri), &entry).await;
                }
            }
            response
        }
    };
    let too_late = || Failure::new(Code::DeadlineExceeded, format!("no answer within {} s", timeout.as_secs()));
    let mut response = if is_change {
        match tokio::time::timeout(timeout, tokio::spawn(work)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => panicked(&error, &id),
            Err(_) => too_late().into_response(),
        }
    } else {
        tokio::time::timeout(timeout, work).await.unwrap_or_else(|_| too_late().into_response())
    };
    if let Some(failure) = response.extensions_mut().remove::<Failure>() {
        let allow = response.headers_mut().remove(axum::http::header::ALLOW);
        response = failure.response(&id);
        if let Some(allow) = allow {
            response.headers_mut().insert(axum::http::header::ALLOW, allow);
        }
    }
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    api.metrics.count(response.status());
    tracing::debug!(%method, path = uri.path(), status = response.status().as_u16(), request = id, "request answered");
    response
}

fn panicked(error: &JoinError, id: &str) -> Response {
    tracing::error!(%error, request = id, "a request panicked; its answer has status 500");
    Failure::new(Code::Internal, "the request ended by a defect").into_response()
}

/// Returns how long the client asked to wait.
fn asked_to_wait(uri: &Uri) -> Duration {
    let query = uri.query().unwrap_or_default();
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    let seconds = pairs.find(|(name, _)| name == "waitSeconds").and_then(|(_, value)| value.parse().ok());
    Duration::from_secs(seconds.unwrap_or(0).min(WAIT_SECONDS_MAX))
}

async fn write_audit(api: &Api, is_control: bool, entry: &AuditEntry) {
    // Rows for requests without an identity are limited: they cost their sender nothing.
    if entry.actor == ANONYMOUS && api.limits.count(ANONYMOUS).is_err() {
        api.metrics.audit_lost.inc();
        return;
    }
    let lane = api.lane(is_control);
    if let Err(error) = lane.store.audit_append(&lane.audit, entry).await {
        api.metrics.audit_lost.inc();
        let error = chain(&error);
        tracing::error!(error, ?entry, "an audit row could not be written; this line is its only record");
    }
}
