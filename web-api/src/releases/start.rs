//! `POST /applications/{namespace}/{name}/releases`: changes an Application and releases the new revision.

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use rest::NewRelease;

use super::body::edit_of;
use super::follow::carry_out;
use super::receive::{Received, receive};
use crate::api::Api;
use crate::applications::app_key;
use crate::body::PathOf;
use crate::caller::Caller;
use crate::failure::Failure;

pub(crate) async fn start(
    State(api): State<Api>,
    mut caller: Caller,
    PathOf((namespace, name)): PathOf<(String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let app = app_key(namespace, name)?;
    let received: Received<NewRelease> =
        receive(&mut caller, app, "releases", query.as_deref(), &headers, body).await?;
    let change = edit_of(received.body.clone())?;
    let reason = received.body.reason.clone();
    let asked = received.asked(&caller, change, reason)?;
    let outcome = carry_out(&api, &mut caller, &asked).await?;
    Ok(outcome.response(&caller))
}
