//! Errors of handlers, from their causes.

use access::{Denied, Unauthenticated};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use domain::operation::ControlRefusal;
use flow::{ControlError, CreateError, LoadError, PlanFailure};
use rest::{FieldProblem, Holder, Problem};
use store::StoreError;
use vocabulary::chain;

use crate::code::Code;

/// Pause that a client makes before it repeats a request, in seconds.
const RETRY_AFTER_SECONDS: u32 = 2;

/// An error answer before it has its request id.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    pub(crate) detail: String,
    pub(crate) errors: Vec<FieldProblem>,
    pub(crate) holder: Option<Box<Holder>>,
    pub(crate) retry_after_seconds: u32,
}

impl Failure {
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self { code, detail, errors: Vec::new(), holder: None, retry_after_seconds: RETRY_AFTER_SECONDS }
    }

    pub(crate) fn of_field(code: Code, pointer: &str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        let errors = vec![FieldProblem { pointer: pointer.to_owned(), detail: detail.clone() }];
        Self { errors, ..Self::new(code, format!("{pointer}: {detail}")) }
    }

    /// Returns the answer's body.
    pub(crate) fn problem(&self, request_id: &str) -> Problem {
        let text = self.code.text();
        Problem {
            kind: format!("/problems/{}", text.word),
            title: text.title.to_owned(),
            status: text.status.as_u16(),
            code: text.word.to_owned(),
            detail: self.detail.clone(),
            remedy: text.remedy.to_owned(),
            retryable: text.is_retryable,
            request_id: request_id.to_owned(),
            errors: self.errors.clone(),
            holder: self.holder.as_deref().cloned(),
        }
    }

    /// Returns the answer.
    pub(crate) fn response(&self, request_id: &str) -> Response {
        let text = self.code.text();
        let body = serde_json::to_vec(&self.problem(request_id)).expect("a problem is plain data");
        let mut response = (text.status, [(header::CONTENT_TYPE, rest::PROBLEM_JSON)], body).into_response();
        if text.is_retryable {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(self.retry_after_seconds));
        }
        if text.status == axum::http::StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// The body is written when the request id is at hand, by `trail`.
impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = self.code.text().status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let code = match &error {
            error if error.refuses_content() => Code::Invalid,
            StoreError::Unknown { .. } => Code::ResultUnknown,
            StoreError::Unavailable(_) | StoreError::Again(_) | StoreError::Busy | StoreError::Schema(_) => {
                Code::StoreUnavailable
            }
            StoreError::Fenced { .. } | StoreError::Stale { .. } | StoreError::TooMany { .. } => Code::Conflict,
            StoreError::Corrupt { .. } | StoreError::Seal(_) | StoreError::Refused(_) => Code::Internal,
        };
        match code {
            // Statements and rows are no business of clients.
            Code::Internal => {
                tracing::error!(error = chain(&error), "a request failed in the database; its answer has status 500");
                Self::new(code, "the database refused a statement")
            }
            Code::Invalid => {
                Self::new(code, "the database does not store this content: a text contains NUL, or is too large")
            }
            _ => Self::new(code, chain(&error)),
        }
    }
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::NotFound(_) => Self::new(Code::NotFound, error.to_string()),
            LoadError::Unreadable { .. } => Self::new(Code::Internal, error.to_string()),
            LoadError::Store(error) => error.into(),
        }
    }
}

impl From<CreateError> for Failure {
    fn from(error: CreateError) -> Self {
        let detail = error.to_string();
        match error {
            CreateError::NoSuchKind { .. } => Self::of_field(Code::UnknownKind, "/kind", detail),
            CreateError::Plan(PlanFailure::Invalid { pointer, problem }) => {
                // Kinds see their own part of the body.
                let pointer = if pointer.starts_with("/spec") { pointer } else { format!("/spec{pointer}") };
                Self::of_field(Code::Invalid, &pointer, problem)
            }
            CreateError::Plan(PlanFailure::NotFound(_)) => Self::new(Code::NotFound, detail),
            CreateError::Plan(PlanFailure::Conflict(_)) => Self::new(Code::Conflict, detail),
            CreateError::Plan(PlanFailure::Store(error)) | CreateError::Store(error) => error.into(),
            CreateError::Defect(_) => Self::new(Code::Internal, detail),
            CreateError::Locked(holders) => {
                let holder = holders.into_iter().next().map(|holder| {
                    Box::new(Holder {
                        operation: holder.operation,
                        kind: holder.kind,
                        subject: holder.subject,
                        key: holder.key,
                        started_by: holder.actor,
                        since: holder.since,
                    })
                });
                Self { holder, ..Self::new(Code::Locked, detail) }
            }
            CreateError::KeyReused(_) => Self::new(Code::IdempotencyKeyReused, detail),
        }
    }
}

impl From<ControlError> for Failure {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::Refused(ControlRefusal::State { .. }) => Self::new(Code::StateConflict, error.to_string()),
            ControlError::Refused(ControlRefusal::Invalid(_)) => Self::new(Code::Invalid, error.to_string()),
            ControlError::Load(error) => error.into(),
            ControlError::KeyReused(_) => Self::new(Code::IdempotencyKeyReused, error.to_string()),
            ControlError::Busy => Self::new(Code::Busy, error.to_string()),
        }
    }
}

impl From<Denied> for Failure {
    fn from(denied: Denied) -> Self {
        Self::new(Code::Forbidden, denied.to_string())
    }
}

impl From<Unauthenticated> for Failure {
    fn from(error: Unauthenticated) -> Self {
        match error {
            Unauthenticated::Expired { .. } => Self::new(Code::TokenExpired, error.to_string()),
            Unauthenticated::HubUnavailable(_) => Self::new(Code::HubUnavailable, error.to_string()),
            Unauthenticated::Store(error) => error.into(),
            Unauthenticated::Invalid
            | Unauthenticated::Revoked { .. }
            | Unauthenticated::NoHub
            | Unauthenticated::Refused(_) => Self::new(Code::Unauthenticated, error.to_string()),
        }
    }
}
