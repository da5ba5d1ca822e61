//! `GET /applications/{namespace}/{name}/revisions`: stored revisions, and what is in one.

use access::Right;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use domain::mask::mask_secrets;
use rest::{Page, Revision, RevisionContent};
use serde_json::{Value, json as value};
use store::{ApplicationRow, RevisionRow, Store};

use crate::answer::json;
use crate::api::Api;
use crate::applications::{app_key, no_application};
use crate::body::{PathOf, Query};
use crate::caller::Caller;
use crate::code::Code;
use crate::failure::Failure;
use crate::page::PageRequest;

/// Name of the list in page tokens.
const LIST: &str = "revisions";
/// Minimum number of digits by which a revision is found.
const DIGITS_MIN: usize = 6;
/// Number of digits of a whole hash.
const DIGITS_MAX: usize = 32;

pub(crate) async fn list(
    caller: Caller,
    PathOf((namespace, name)): PathOf<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let query = Query::parse(query.as_deref(), &["pageSize", "pageToken"])?;
    let page = PageRequest::of(&query, LIST)?;
    let app = row_of(&caller, namespace, name).await?;
    let all = caller.store().revision_all(app.id).await?;
    // The token is a hash, because two revisions may be of the same time.
    let after = page.after.as_ref().and_then(|after| all.iter().position(|row| row.revision.to_string() == *after));
    let size = usize::try_from(page.size).unwrap_or(usize::MAX);
    let items: Vec<Revision> =
        all.iter().skip(after.map_or(0, |after| after + 1)).take(size).map(|row| view(&app, row)).collect();
    let next_page_token = page.next(LIST, items.len(), items.last().map(|last| last.revision.clone()));
    Ok(json(&Page { items, next_page_token }))
}

pub(crate) async fn get(
    State(api): State<Api>,
    caller: Caller,
    PathOf((namespace, name, revision)): PathOf<(String, String, String)>,
) -> Result<Response, Failure> {
    let app = row_of(&caller, namespace, name).await?;
    let store: &Store = caller.store();
    let all = store.revision_all(app.id).await?;
    let row = find(&revision, &all).map_err(|problem| Failure::new(Code::NotFound, problem))?;
    let stored = store.payload_of_revision(app.id, row.revision, &api.envelope_key).await?;
    let bytes = stored.ok_or_else(|| no_revision(&revision))?;
    let unreadable = |error| Failure::new(Code::Internal, format!("revision {} cannot be read: {error}", row.revision));
    let mut content: Value = serde_json::from_slice(&bytes).map_err(unreadable)?;
    mask_secrets(&mut content);
    let mut take = |field: &str| content.get_mut(field).map_or_else(|| value!([]), Value::take);
    Ok(json(&RevisionContent {
        revision: view(&app, row),
        components: take("components"),
        overrides: take("overrides"),
    }))
}

async fn row_of(caller: &Caller, namespace: String, name: String) -> Result<ApplicationRow, Failure> {
    caller.require(Right::Get, Some(&namespace)).await?;
    let key = app_key(namespace, name)?;
    caller.store().application_get(&key).await?.ok_or_else(|| no_application(&key))
}

fn view(app: &ApplicationRow, row: &RevisionRow) -> Revision {
    Revision {
        revision: row.revision.to_string(),
        taken_at: row.taken_at,
        was_ready: row.was_ready,
        current: row.revision == app.revision,
    }
}

/// Finds a revision by its hash or the first digits of it.
///
/// # Errors
/// A sentence where none or several have these digits.
pub(crate) fn find<'a>(digits: &str, revisions: &'a [RevisionRow]) -> Result<&'a RevisionRow, String> {
    let digits = digits.to_ascii_lowercase();
    let is_hash = (DIGITS_MIN..=DIGITS_MAX).contains(&digits.len()) && digits.bytes().all(|c| c.is_ascii_hexdigit());
    if !is_hash {
        let shown: String = digits.chars().take(DIGITS_MAX).collect();
        return Err(format!("{shown:?} is no hash of a revision: {DIGITS_MIN} to {DIGITS_MAX} hexadecimal digits"));
    }
    let mut found = revisions.iter().filter(|row| row.revision.to_string().starts_with(&digits));
    match (found.next(), found.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => Err(format!("there is no revision {digits}")),
        (Some(_), Some(_)) => Err(format!("several revisions begin with {digits}; give more digits")),
    }
}

pub(crate) fn no_revision(revision: &str) -> Failure {
    Failure::new(Code::NotFound, format!("revision {revision} is no longer stored"))
}
