//! Answers to requests that release or roll back.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use rest::StartedRelease;
use store::OperationRow;
use vocabulary::{AppKey, OperationId};

use super::edit::Edited;
use crate::answer::json;
use crate::caller::Caller;

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    answer: StartedRelease,
    /// Work goes on after the answer.
    is_accepted: bool,
    is_replay: bool,
}

impl Outcome {
    fn new(app: &AppKey, edited: &Edited, operation: Option<OperationId>, message: String) -> Self {
        let answer = StartedRelease {
            application: app.to_string(),
            revision: edited.revision.to_string(),
            operation,
            generation: edited.generation,
            done: false,
            message,
        };
        Self { answer, is_accepted: true, is_replay: false }
    }

    /// An operation releases the revision.
    pub(super) fn found(app: &AppKey, edited: &Edited, id: OperationId) -> Self {
        let short = edited.revision.short();
        Self::new(app, edited, Some(id), format!("operation {id} releases revision {short}"))
    }

    /// The same request was answered before.
    pub(super) fn replay(app: &AppKey, operation: &OperationRow, generation: i64) -> Self {
        let revision = operation.spec.get("revision").and_then(|revision| revision.as_str()).unwrap_or_default();
        let answer = StartedRelease {
            application: app.to_string(),
            revision: revision.to_owned(),
            operation: Some(operation.id),
            generation,
            done: false,
            message: format!("the same request led to operation {} before", operation.id),
        };
        Self { answer, is_accepted: true, is_replay: true }
    }

    /// No operation was there in time.
    pub(super) fn expected(app: &AppKey, edited: &Edited) -> Self {
        let message = format!(
            "the Application has revision {}, and no operation releases it yet; GET {}/operations?application={app}&kind=release \
             shows it when intake has taken the revision in, and `meridian app status {} -n {}` why it has not",
            edited.revision.short(),
            rest::PREFIX,
            app.name,
            app.namespace
        );
        Self::new(app, edited, None, message)
    }

    /// The revision goes cell by cell.
    pub(super) fn cell_by_cell(app: &AppKey, edited: &Edited) -> Self {
        let message = format!(
            "the Application has no spec.release, so revision {} goes cell by cell and without an operation; \
             `meridian app status {} -n {} --wait` waits for it",
            edited.revision.short(),
            app.name,
            app.namespace
        );
        Self::new(app, edited, None, message)
    }

    /// Nothing is to be done.
    pub(super) fn running(app: &AppKey, edited: &Edited) -> Self {
        let message =
            format!("revision {} runs in every cell already; nothing is to be released", edited.revision.short());
        let mut outcome = Self::new(app, edited, None, message);
        (outcome.answer.done, outcome.is_accepted) = (true, false);
        outcome
    }

    /// The request was checked only.
    pub(super) fn dry_run(app: &AppKey, edited: &Edited) -> Self {
        let short = edited.revision.short();
        let message = match (edited.is_new_revision, edited.has_batches) {
            (true, true) => format!("revision {short} would be released in batches; nothing was changed"),
            (true, false) => format!("revision {short} would go cell by cell; nothing was changed"),
            (false, _) => format!("the revision would stay {short}; nothing was changed"),
        };
        Self { is_accepted: false, ..Self::new(app, edited, None, message) }
    }

    /// Returns the response, and records the operation for the audit.
    pub(super) fn response(&self, caller: &Caller) -> Response {
        let mut response = json(&self.answer);
        if self.is_accepted {
            *response.status_mut() = StatusCode::ACCEPTED;
        }
        if let Some(id) = self.answer.operation {
            caller.trail.set_operation(id);
            let location = HeaderValue::from_str(&format!("{}/operations/{id}", rest::PREFIX));
            response.headers_mut().insert(header::LOCATION, location.expect("an id has only ASCII letters"));
        }
        if self.is_replay {
            response.headers_mut().insert(rest::IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
        }
        response
    }
}
