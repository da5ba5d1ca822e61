//! Answers as JSON.

use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// Returns a value as JSON, which no cache keeps.
pub(crate) fn json(value: &impl Serialize) -> Response {
    let body = serde_json::to_vec(value).expect("answers are plain data");
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")], body).into_response()
}
