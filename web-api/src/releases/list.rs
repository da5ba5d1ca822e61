//! `GET /applications/{namespace}/{name}/releases`: releases of an Application, the newest first.

use ::operations::RELEASE;
use access::Right;
use axum::extract::RawQuery;
use axum::response::Response;
use store::OperationFilter;

use crate::answer::json;
use crate::applications::{app_key, no_application};
use crate::body::{PathOf, Query};
use crate::caller::Caller;
use crate::failure::Failure;
use crate::operations::list::read_page;
use crate::page::PageRequest;

/// Name of the list in page tokens.
const LIST: &str = "releases";

pub(crate) async fn list(
    caller: Caller,
    PathOf((namespace, name)): PathOf<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let query = Query::parse(query.as_deref(), &["pageSize", "pageToken"])?;
    let page = PageRequest::of(&query, LIST)?;
    caller.require(Right::Get, Some(&namespace)).await?;
    let app = app_key(namespace, name)?;
    let filter = OperationFilter {
        kind: Some(RELEASE.to_owned()),
        application: Some(app.to_string()),
        before: page.after()?,
        ..OperationFilter::default()
    };
    let found = read_page(caller.store(), &filter, &page, LIST).await?;
    // Releases outlive their Application, so only an empty list asks whether there is one.
    if found.items.is_empty() && page.after.is_none() && caller.store().application_get(&app).await?.is_none() {
        return Err(no_application(&app));
    }
    Ok(json(&found))
}
