//! `POST /operations`: creates an operation, or shows what it would do.

use access::Right;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use flow::{Created, Request, create as create_operation, preview};
use rest::{LockNeed, NewOperation, Preview};
use sha2::{Digest, Sha256};
use store::IdempotencyKey;
use vocabulary::OperationId;

use super::{get, namespace_of};
use crate::answer::json;
use crate::api::Api;
use crate::body::{self, Query};
use crate::caller::Caller;
use crate::code::Code;
use crate::failure::Failure;

/// Maximum length of an idempotency key, in bytes.
const KEY_MAX: usize = 255;
/// Maximum length of a reason, in bytes.
pub(super) const REASON_MAX: usize = 4_096;
/// Pause that a client makes before it reads the operation, in seconds.
const RETRY_AFTER_SECONDS: u32 = 1;

pub(crate) async fn create(
    State(api): State<Api>,
    mut caller: Caller,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let is_dry_run = Query::parse(query.as_deref(), &["dryRun"])?.flag("dryRun")?;
    if is_dry_run {
        caller.trail.set_dry_run();
    }
    let key = idempotency_key(&headers)?;
    // The connection is given back, because a slow body would keep other requests from the database.
    caller.end_turn();
    let body = body::read(body).await?;
    caller.begin_turn().await?;
    let new: NewOperation = body::parse(&body)?;
    check_text("/reason", &new.reason)?;
    caller.trail.set_reason(&new.reason);
    caller.require(Right::to_create(&new.kind), namespace_of(&new.kind, &new.spec)).await?;
    if is_dry_run {
        return dry_run(&api, new).await;
    }
    let actor = caller.subject.to_string();
    let key = key.map(|key| IdempotencyKey {
        actor: actor.clone(),
        method: "POST".to_owned(),
        path: format!("{}/operations", rest::PREFIX),
        key,
        body_hash: Sha256::digest(&body).to_vec(),
    });
    let request = Request {
        id: OperationId::generate(),
        kind: new.kind,
        spec: new.spec,
        actor,
        reason: new.reason,
        starts: !new.hold,
        key,
    };
    let created = create_operation(&api.general.store, &api.hints, &api.kinds, request).await?;
    caller.trail.set_operation(created.operation.id);
    accepted(&api, created).await
}

async fn accepted(api: &Api, created: Created) -> Result<Response, Failure> {
    let view = get::load_view(&api.general.store, created.operation.id).await?;
    let mut response = view.response();
    *response.status_mut() = StatusCode::ACCEPTED;
    let location = HeaderValue::from_str(&view.operation.links.itself);
    response.headers_mut().insert(header::LOCATION, location.expect("an id has only ASCII letters"));
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
    if created.is_replay {
        response.headers_mut().insert(rest::IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

async fn dry_run(api: &Api, new: NewOperation) -> Result<Response, Failure> {
    let planned = preview(&api.kinds, &new.kind, &new.spec).await?;
    let need = |lock: &domain::operation::LockRequest| LockNeed {
        key: lock.key.to_string(),
        mode: match lock.mode {
            domain::operation::LockMode::Exclusive => "Exclusive".to_owned(),
            domain::operation::LockMode::Shared => "Shared".to_owned(),
        },
    };
    Ok(json(&Preview {
        kind: new.kind,
        subject: planned.subject,
        plan: serde_json::to_value(&planned.plan).expect("a plan is plain data"),
        locks: planned.locks.iter().map(need).collect(),
        preview: planned.preview,
    }))
}

/// Returns the key of a request, if it has one.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Failure> {
    let refuse = |detail: &str| Failure::new(Code::InvalidRequest, format!("Idempotency-Key {detail}"));
    let mut values = headers.get_all(rest::IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(refuse("occurs twice"));
    }
    let key = value.to_str().map_err(|_| refuse("has other letters than visible ASCII ones"))?.trim();
    if key.is_empty() || key.len() > KEY_MAX {
        return Err(refuse(&format!("has {} letters; 1 to {KEY_MAX} are possible", key.len())));
    }
    Ok(Some(key.to_owned()))
}

/// Checks a text that persons write. The database stores no NUL.
pub(crate) fn check_text(pointer: &str, text: &str) -> Result<(), Failure> {
    if text.len() > REASON_MAX {
        return Err(Failure::of_field(Code::Invalid, pointer, format!("has more than {REASON_MAX} bytes")));
    }
    if text.contains('\0') {
        return Err(Failure::of_field(Code::Invalid, pointer, "contains NUL"));
    }
    Ok(())
}
