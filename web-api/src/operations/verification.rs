//! `GET /operations/{id}/verification`: checks the chain of hashes of the journal.

use access::Right;
use axum::response::Response;
use flow::{LoadError, verify};
use rest::Verification;

use super::{id_of, namespace_of};
use crate::answer::json;
use crate::body::PathOf;
use crate::caller::Caller;
use crate::failure::Failure;

pub(crate) async fn verification(caller: Caller, PathOf(id): PathOf<String>) -> Result<Response, Failure> {
    let id = id_of(&id)?;
    let row = caller.store().operation_get(id).await?.ok_or(LoadError::NotFound(id))?;
    caller.require(Right::Get, namespace_of(&row.kind, &row.spec)).await?;
    let (entries, broken) = verify(caller.store(), id).await?;
    let problem = broken.map(|broken| format!("entry {}: {}", broken.seq, broken.problem));
    Ok(json(&Verification { entries, whole: problem.is_none(), problem }))
}
