//! Reads a request that releases or rolls back, from a sender who may.

use access::Right;
use axum::body::Body;
use axum::http::HeaderMap;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use store::IdempotencyKey;
use vocabulary::AppKey;

use super::edit::Edit;
use super::follow::Asked;
use crate::body::{self, Query};
use crate::caller::Caller;
use crate::failure::Failure;
use crate::operations::create::{check_text, idempotency_key};

/// A request that was read, before its body is checked.
#[derive(Debug)]
pub(super) struct Received<T> {
    pub(super) body: T,
    app: AppKey,
    actor: String,
    key: Option<IdempotencyKey>,
    is_dry_run: bool,
}

/// Checks the sender's right and reads the request. An empty body counts as an empty object.
pub(super) async fn receive<T: DeserializeOwned + Default>(
    caller: &mut Caller,
    app: AppKey,
    collection: &str,
    query: Option<&str>,
    headers: &HeaderMap,
    body: Body,
) -> Result<Received<T>, Failure> {
    let is_dry_run = Query::parse(query, &["dryRun"])?.flag("dryRun")?;
    if is_dry_run {
        caller.trail.set_dry_run();
    }
    let key = idempotency_key(headers)?;
    caller.require(Right::Release, Some(&app.namespace)).await?;
    // The connection is given back, because a slow body would keep other requests from the database.
    caller.end_turn();
    let bytes = body::read(body).await?;
    caller.begin_turn().await?;
    let body = if bytes.is_empty() { T::default() } else { body::parse(&bytes)? };
    let actor = caller.subject.to_string();
    let key = key.filter(|_| !is_dry_run).map(|key| IdempotencyKey {
        actor: actor.clone(),
        method: "POST".to_owned(),
        path: format!("{}/applications/{}/{}/{collection}", rest::PREFIX, app.namespace, app.name),
        key,
        body_hash: Sha256::digest(&bytes).to_vec(),
    });
    Ok(Received { body, app, actor, key, is_dry_run })
}

impl<T> Received<T> {
    /// Returns the request with the edit that its body asks for.
    pub(super) fn asked(self, caller: &Caller, change: Edit, reason: String) -> Result<Asked, Failure> {
        check_text("/reason", &reason)?;
        caller.trail.set_reason(&reason);
        let Self { app, actor, key, is_dry_run, .. } = self;
        Ok(Asked { app, change, actor, reason, key, is_dry_run })
    }
}
