//! `GET /audit`: changes that were asked for, the newest first.

use access::Right;
use axum::extract::RawQuery;
use axum::response::Response;
use rest::{AuditEvent, Page};
use store::{AuditFilter, AuditRow};

use crate::answer::json;
use crate::body::Query;
use crate::caller::Caller;
use crate::failure::Failure;
use crate::page::PageRequest;

/// Name of the list in page tokens.
const LIST: &str = "audit";

pub(crate) async fn list(caller: Caller, RawQuery(query): RawQuery) -> Result<Response, Failure> {
    let query = Query::parse(query.as_deref(), &["actor", "operation", "pageSize", "pageToken"])?;
    let page = PageRequest::of(&query, LIST)?;
    let filter = AuditFilter {
        actor: query.text("actor").map(str::to_owned),
        operation: query.value("operation", "the id of an operation")?,
        before: page.after()?,
    };
    caller.require(Right::ReadAudit, None).await?;
    let rows = caller.store().audit_page(&filter, page.size).await?;
    let next_page_token = page.next(LIST, rows.len(), rows.last().map(|row| row.id.to_string()));
    Ok(json(&Page { items: rows.into_iter().map(event).collect(), next_page_token }))
}

fn event(row: AuditRow) -> AuditEvent {
    AuditEvent {
        id: row.id,
        at: row.entry.at,
        actor: row.entry.actor,
        method: row.entry.method,
        path: row.entry.path,
        operation: row.entry.operation,
        status: row.entry.status,
        reason: row.entry.reason,
        request_id: row.entry.request_id,
        chain: row.chain.to_string(),
        seq: row.seq,
        hash: hex::encode(row.hash),
    }
}
