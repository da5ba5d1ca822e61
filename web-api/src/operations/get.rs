//! `GET /operations/{id}`: one operation, at once or when it ends or pauses.

use std::time::Duration;

use access::Right;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::operation::State as OperationState;
use flow::load;
use rest::Operation;
use store::Store;
use tokio::time::Instant;
use vocabulary::OperationId;

use super::{id_of, namespace_of, view};
use crate::answer::json;
use crate::api::Api;
use crate::body::{PathOf, Query};
use crate::caller::Caller;
use crate::code::Code;
use crate::failure::Failure;
use crate::trail::WAIT_SECONDS_MAX;

/// Interval between two reads of an operation without a hint.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// An operation with the version of its rows.
#[derive(Debug)]
pub(super) struct View {
    pub(super) operation: Operation,
    etag: String,
    is_paused: bool,
}

impl View {
    pub(super) fn response(&self) -> Response {
        let mut response = json(&self.operation);
        if let Ok(etag) = HeaderValue::from_str(&self.etag) {
            response.headers_mut().insert(header::ETAG, etag);
        }
        response
    }
}

/// Reads an operation as an answer.
pub(super) async fn load_view(store: &Store, id: OperationId) -> Result<View, Failure> {
    let (row, run) = load(store, id).await?;
    let is_ownerless = view::ownerless(store, &[&row]).await?.contains(&id);
    let mark = if is_ownerless { "-no-engine" } else { "" };
    Ok(View {
        etag: format!("\"{}{mark}\"", row.version),
        is_paused: run.state == OperationState::Paused,
        operation: view::of_run(row, &run, is_ownerless),
    })
}

pub(crate) async fn get(
    State(api): State<Api>,
    mut caller: Caller,
    PathOf(id): PathOf<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let query = Query::parse(query.as_deref(), &["waitSeconds"])?;
    let seconds: u64 = query.value("waitSeconds", "a number of seconds")?.unwrap_or(0);
    if seconds > WAIT_SECONDS_MAX {
        let detail = format!("waitSeconds={seconds} is more than {WAIT_SECONDS_MAX}");
        return Err(Failure::new(Code::InvalidRequest, detail));
    }
    let id = id_of(&id)?;
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut wake = api.wakes.subscribe();
    let mut view = load_view(caller.store(), id).await?;
    caller.require(Right::Get, namespace_of(&view.operation.kind, &view.operation.spec)).await?;
    caller.end_turn();
    let _waiter = if seconds > 0 { Some(api.limits.waiter()?) } else { None };
    while !view.operation.done && !view.is_paused && Instant::now() < until && !api.shutdown.is_cancelled() {
        tokio::select! {
            () = api.shutdown.cancelled() => {}
            () = wake.wait(id, until.min(Instant::now() + LOOK_AGAIN)) => {}
        }
        let _turn = api.limits.turn().await?;
        view = load_view(&api.general.store, id).await?;
    }
    let is_known = headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == view.etag.as_bytes());
    let mut response = view.response();
    if is_known {
        let etag = response.headers_mut().remove(header::ETAG);
        response = StatusCode::NOT_MODIFIED.into_response();
        response.headers_mut().extend(etag.map(|etag| (header::ETAG, etag)));
    }
    if !view.operation.done {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    Ok(response)
}
