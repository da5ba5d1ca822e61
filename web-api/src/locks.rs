//! `GET /locks`: the locks that operations hold.

use access::Right;
use axum::extract::RawQuery;
use axum::response::Response;
use rest::{Lock, Page};
use store::LockPlace;

use crate::answer::json;
use crate::body::Query;
use crate::caller::Caller;
use crate::failure::Failure;
use crate::page::{PageRequest, wrong_token};

/// Name of the list in page tokens.
const LIST: &str = "locks";

pub(crate) async fn list(caller: Caller, RawQuery(query): RawQuery) -> Result<Response, Failure> {
    let query = Query::parse(query.as_deref(), &["pageSize", "pageToken"])?;
    let page = PageRequest::of(&query, LIST)?;
    let after = page.after.as_deref().map(place).transpose()?;
    caller.require(Right::List, None).await?;
    let rows = caller.store().lock_list(after.as_ref(), page.size).await?;
    let last = rows.last().map(|row| format!("{} {}", row.operation, row.key));
    let next_page_token = page.next(LIST, rows.len(), last);
    let lock = |row: store::LockHolder| Lock {
        key: row.key,
        mode: row.mode,
        operation: row.operation,
        kind: row.kind,
        subject: row.subject,
        started_by: row.actor,
        since: row.since,
    };
    Ok(json(&Page { items: rows.into_iter().map(lock).collect(), next_page_token }))
}

/// Parses the place of a lock: operation and key.
fn place(text: &str) -> Result<LockPlace, Failure> {
    let (operation, key) = text.split_once(' ').ok_or_else(wrong_token)?;
    Ok(LockPlace { operation: operation.parse().map_err(|_| wrong_token())?, key: key.to_owned() })
}
