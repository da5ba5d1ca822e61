//! `POST /operations/{id}/{verb}`: applies a person's verb.

use access::Right;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use domain::operation::{Control, Verb};
use flow::{ControlRequest, LoadError, control as apply};
use rest::ControlBody;
use sha2::{Digest, Sha256};
use store::IdempotencyKey;

use super::create::{check_text, idempotency_key};
use super::{get, id_of, namespace_of};
use crate::api::Api;
use crate::body::{self, PathOf};
use crate::caller::Caller;
use crate::code::Code;
use crate::failure::Failure;

pub(crate) async fn control(
    State(api): State<Api>,
    caller: Caller,
    PathOf((id, verb)): PathOf<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let verb = Verb::parse(&verb).ok_or_else(|| no_such_verb(&verb))?;
    let operation = id_of(&id)?;
    caller.trail.set_operation(operation);
    let key = idempotency_key(&headers)?;
    let bytes = body::read(body).await?;
    let body: ControlBody = if bytes.is_empty() { ControlBody::default() } else { body::parse(&bytes)? };
    for (pointer, text) in [("/step", &body.step), ("/target", &body.target), ("/reason", &body.reason)] {
        check_text(pointer, text.as_deref().unwrap_or_default())?;
    }
    caller.trail.set_reason(body.reason.as_deref().unwrap_or_default());
    let store = &api.control.store;
    let row = store.operation_get(operation).await?.ok_or(LoadError::NotFound(operation))?;
    let namespace = namespace_of(&row.kind, &row.spec);
    caller.require(Right::Control(verb), namespace).await?;
    // An approver has no right to create; its verbs are rights of their own.
    if !matches!(verb, Verb::Approve | Verb::Reject) {
        caller.require(Right::to_create(&row.kind), namespace).await?;
    }
    let actor = caller.subject.to_string();
    let key = key.map(|key| IdempotencyKey {
        actor: actor.clone(),
        method: "POST".to_owned(),
        path: format!("{}/operations/{operation}/{}", rest::PREFIX, verb.as_str()),
        key,
        body_hash: Sha256::digest(&bytes).to_vec(),
    });
    let control = Control { verb, step: body.step, target: body.target, actor, reason: body.reason };
    apply(store, &api.hints, &ControlRequest { operation, control, key }).await?;
    Ok(get::load_view(store, operation).await?.response())
}

fn no_such_verb(verb: &str) -> Failure {
    let all: Vec<&str> = Verb::all().map(Verb::as_str).collect();
    Failure::new(Code::NotFound, format!("there is no verb {verb}; there are {}", all.join(", ")))
}
