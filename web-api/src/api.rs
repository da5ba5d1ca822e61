//! State of the server, and its paths.

use std::sync::Arc;

use access::Access;
use axum::Router;
use axum::extract::Request;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use flow::Kinds;
use runtime::metrics::Metrics;
use store::{AuditChain, Hints, Store};
use tokio_util::sync::CancellationToken;

use crate::code::Code;
use crate::failure::Failure;
use crate::limits::{LimitSettings, Limits};
use crate::metrics::ApiMetrics;
use crate::wakes::OperationWakes;
use crate::{applications, audit, fleet, locks, operations, problems, trail, whoami};

/// What the server needs.
#[derive(Debug)]
pub struct ApiParts {
    /// Database for reads and creations.
    pub store: Store,
    /// Database for control verbs, with connections of its own.
    pub control_store: Store,
    /// Hints of this and other processes.
    pub hints: Hints,
    /// Kinds of operations that may be created.
    pub kinds: Kinds,
    /// Authentication and authorization.
    pub access: Access,
    /// Limits of requests.
    pub limits: LimitSettings,
    /// Metrics of the process.
    pub metrics: Metrics,
    /// Ends streams and waiting requests.
    pub shutdown: CancellationToken,
}

/// A store with a chain of the audit: one for control verbs, one for everything else.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) store: Store,
    pub(crate) audit: AuditChain,
}

/// State of the server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Api(Arc<ApiState>);

/// Parts that all requests share.
#[derive(Debug)]
pub struct ApiState {
    pub(crate) general: Lane,
    pub(crate) control: Lane,
    pub(crate) hints: Hints,
    pub(crate) kinds: Kinds,
    pub(crate) access: Access,
    pub(crate) limits: Limits,
    pub(crate) metrics: ApiMetrics,
    pub(crate) wakes: OperationWakes,
    pub(crate) shutdown: CancellationToken,
}

impl std::ops::Deref for Api {
    type Target = ApiState;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Api {
    /// Returns the server's state, and starts the task that wakes waiting requests.
    pub fn start(parts: ApiParts) -> Self {
        let lane = |store: Store| Lane { store, audit: AuditChain::default() };
        Self(Arc::new(ApiState {
            general: lane(parts.store),
            control: lane(parts.control_store),
            wakes: OperationWakes::start(&parts.hints, parts.shutdown.clone()),
            hints: parts.hints,
            kinds: parts.kinds,
            access: parts.access,
            limits: Limits::new(parts.limits),
            metrics: ApiMetrics::new(&parts.metrics),
            shutdown: parts.shutdown,
        }))
    }

    /// Returns the lane of a request.
    pub(crate) fn lane(&self, is_control: bool) -> &Lane {
        if is_control { &self.control } else { &self.general }
    }

    /// Returns all paths.
    pub fn router(self) -> Router {
        // Not nested: handlers and the audit then see the whole path.
        let v1 = |path: &str| format!("{}{path}", rest::PREFIX);
        Router::new()
            .route(&v1("/operations"), get(operations::list::list).post(operations::create::create))
            .route(&v1("/operations/{id}"), get(operations::get::get))
            .route(&v1("/operations/{id}/events"), get(operations::events::events))
            .route(&v1("/operations/{id}/verification"), get(operations::verification::verification))
            .route(&v1("/operations/{id}/{verb}"), post(operations::control::control))
            .route(&v1("/locks"), get(locks::list))
            .route(&v1("/clusters"), get(fleet::clusters))
            .route(&v1("/cells"), get(fleet::cells))
            .route(&v1("/applications"), get(applications::list))
            .route(&v1("/applications/{namespace}/{name}"), get(applications::get))
            .route(&v1("/applications/{namespace}/{name}/placement"), get(applications::placement))
            .route(&v1("/audit"), get(audit::list))
            .route(&v1("/whoami"), get(whoami::whoami))
            .route("/problems", get(problems::index))
            .route("/problems/{code}", get(problems::describe))
            .fallback(no_such_path)
            .method_not_allowed_fallback(no_such_method)
            .layer(from_fn_with_state(self.clone(), trail::record))
            .with_state(self)
    }
}

async fn no_such_path(request: Request) -> Response {
    Failure::new(Code::NotFound, format!("there is no path {}", request.uri().path())).into_response()
}

async fn no_such_method(request: Request) -> Response {
    let (method, path) = (request.method(), request.uri().path());
    Failure::new(Code::MethodNotAllowed, format!("{path} has no method {method}")).into_response()
}
