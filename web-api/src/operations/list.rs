//! `GET /operations`: a page of operations, the newest first.

use std::collections::HashMap;

use access::Right;
use axum::extract::RawQuery;
use axum::response::Response;
use domain::operation::State;
use rest::{Operation, Page};
use store::{OperationFilter, OperationRow, Store};
use vocabulary::OperationId;

use super::view;
use crate::answer::json;
use crate::body::Query;
use crate::caller::Caller;
use crate::code::Code;
use crate::failure::Failure;
use crate::page::PageRequest;

/// Name of the list in page tokens.
const LIST: &str = "operations";

pub(crate) async fn list(caller: Caller, RawQuery(query): RawQuery) -> Result<Response, Failure> {
    let query = Query::parse(query.as_deref(), &["kind", "state", "subject", "application", "pageSize", "pageToken"])?;
    let page = PageRequest::of(&query, LIST)?;
    let state = query.text("state");
    if let Some(state) = state.filter(|state| State::parse(state).is_none()) {
        let detail = format!("there is no state {state} to filter by");
        return Err(Failure::new(Code::InvalidRequest, detail));
    }
    let application = query.text("application");
    let namespace = application.map(namespace_of_application).transpose()?;
    let filter = OperationFilter {
        kind: query.text("kind").map(str::to_owned),
        state: state.map(str::to_owned),
        subject: query.text("subject").map(str::to_owned),
        application: application.map(str::to_owned),
        before: page.after()?,
    };
    caller.require(Right::List, namespace).await?;
    Ok(json(&read_page(caller.store(), &filter, &page, LIST).await?))
}

fn namespace_of_application(text: &str) -> Result<&str, Failure> {
    let (namespace, name) = text.split_once('/').unwrap_or_default();
    if namespace.is_empty() || name.is_empty() {
        let detail = format!("application={text:?} is no Application; write namespace/name");
        return Err(Failure::new(Code::InvalidRequest, detail));
    }
    Ok(namespace)
}

/// Reads a page of operations with their progress.
pub(crate) async fn read_page(
    store: &Store,
    filter: &OperationFilter,
    page: &PageRequest,
    list: &str,
) -> Result<Page<Operation>, Failure> {
    let rows = store.operation_page(filter, page.size).await?;
    let ids: Vec<OperationId> = rows.iter().map(|row| row.id).collect();
    let counts: HashMap<OperationId, _> = store.operation_counts(&ids).await?.into_iter().collect();
    let ownerless = view::ownerless(store, &rows.iter().collect::<Vec<&OperationRow>>()).await?;
    let next_page_token = page.next(list, ids.len(), ids.last().map(OperationId::to_string));
    let view = |row: OperationRow| -> Operation {
        let (counts, is_ownerless) = (counts.get(&row.id).copied().unwrap_or_default(), ownerless.contains(&row.id));
        view::of_counts(row, counts, is_ownerless)
    };
    Ok(Page { items: rows.into_iter().map(view).collect(), next_page_token })
}
