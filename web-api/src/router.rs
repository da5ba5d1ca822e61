//! Paths of the API.

use axum::Router;
use axum::extract::Request;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use crate::api::Api;
use crate::code::Code;
use crate::failure::Failure;
use crate::{applications, audit, fleet, locks, operations, problems, releases, revisions, trail, whoami};

/// Returns all paths.
pub fn router(api: Api) -> Router {
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
        .route(&v1("/applications/{namespace}/{name}/releases"), get(releases::list::list).post(releases::start::start))
        .route(&v1("/applications/{namespace}/{name}/rollback"), post(releases::rollback::rollback))
        .route(&v1("/applications/{namespace}/{name}/revisions"), get(revisions::list))
        .route(&v1("/applications/{namespace}/{name}/revisions/{revision}"), get(revisions::get))
        .route(&v1("/audit"), get(audit::list))
        .route(&v1("/whoami"), get(whoami::whoami))
        .route("/problems", get(problems::index))
        .route("/problems/{code}", get(problems::describe))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(from_fn_with_state(api.clone(), trail::record))
        .with_state(api)
}

async fn no_such_path(request: Request) -> Response {
    Failure::new(Code::NotFound, format!("there is no path {}", request.uri().path())).into_response()
}

async fn no_such_method(request: Request) -> Response {
    let (method, path) = (request.method(), request.uri().path());
    Failure::new(Code::MethodNotAllowed, format!("{path} has no method {method}")).into_response()
}
