//! `GET /applications`: what runs where, as the database has it.

use std::collections::{BTreeMap, HashMap};

use access::Right;
use axum::extract::RawQuery;
use axum::response::Response;
use rest::{Application, ApplicationCell, ApplicationStatus, Decision, Page, PlacedObject};
use serde_json::Value;
use store::{AppId, ApplicationRow, CellDecisionRow, DesiredState, PlacementId, PlacementRow, StatusRow, Store};
use vocabulary::AppKey;

use crate::answer::json;
use crate::body::{PathOf, Query};
use crate::caller::Caller;
use crate::code::Code;
use crate::failure::Failure;
use crate::page::{PageRequest, wrong_token};

/// Name of the list in page tokens.
const LIST: &str = "applications";
/// State of an object of which nothing was observed.
const WAITING: &str = "Waiting";
pub(crate) async fn list(caller: Caller, RawQuery(query): RawQuery) -> Result<Response, Failure> {
    let query = Query::parse(query.as_deref(), &["namespace", "pageSize", "pageToken"])?;
    let page = PageRequest::of(&query, LIST)?;
    let namespace = query.text("namespace");
    caller.require(Right::List, namespace).await?;
    let after = page.after.as_deref().map(key_of).transpose()?;
    let rows = caller.store().application_page(namespace, after.as_ref(), page.size).await?;
    let next_page_token = page.next(LIST, rows.len(), rows.last().map(|row| row.key.to_string()));
    Ok(json(&Page { items: views(caller.store(), rows).await?, next_page_token }))
}

pub(crate) async fn get(
    caller: Caller,
    PathOf((namespace, name)): PathOf<(String, String)>,
) -> Result<Response, Failure> {
    caller.require(Right::Get, Some(&namespace)).await?;
    let row = row_of(caller.store(), namespace, name).await?;
    let view = views(caller.store(), vec![row]).await?.pop();
    Ok(json(&view.ok_or_else(|| Failure::new(Code::Internal, "the application has no view"))?))
}

pub(crate) async fn placement(
    caller: Caller,
    PathOf((namespace, name)): PathOf<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let query = Query::parse(query.as_deref(), &["pageSize", "pageToken"])?;
    let page = PageRequest::of(&query, "placement")?;
    let after: Option<PlacementId> = page.after::<i64>()?.map(PlacementId::from);
    caller.require(Right::Get, Some(&namespace)).await?;
    let store = caller.store();
    let row = row_of(store, namespace, name).await?;
    let mut objects = store.placement_list(&[row.id]).await?;
    let status: HashMap<PlacementId, StatusRow> =
        store.status_list(&[row.id]).await?.into_iter().map(|status| (status.placement, status)).collect();
    objects.sort_by_key(|object| object.id);
    objects.retain(|object| after.is_none_or(|after| object.id > after));
    objects.truncate(usize::try_from(page.size).unwrap_or(usize::MAX));
    let next_page_token = page.next("placement", objects.len(), objects.last().map(|last| last.id.to_string()));
    let items = objects.into_iter().map(|object| {
        let status = status.get(&object.id);
        placed(object, status)
    });
    Ok(json(&Page { items: items.collect(), next_page_token }))
}

/// Returns the name of an Application in a path. A name that no Kubernetes object has names nothing.
pub(crate) fn app_key(namespace: String, name: String) -> Result<AppKey, Failure> {
    let is_name = |text: &str| {
        let is_letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        (1..=253).contains(&text.len())
            && text.starts_with(is_letter)
            && text.ends_with(is_letter)
            && text.chars().all(|c| is_letter(c) || c == '-' || c == '.')
    };
    let key = AppKey { namespace, name };
    if is_name(&key.namespace) && is_name(&key.name) { Ok(key) } else { Err(no_application(&key)) }
}

pub(crate) fn no_application(key: &AppKey) -> Failure {
    Failure::new(Code::NotFound, format!("there is no Application {key}"))
}

async fn row_of(store: &Store, namespace: String, name: String) -> Result<ApplicationRow, Failure> {
    let key = app_key(namespace, name)?;
    store.application_get(&key).await?.ok_or_else(|| no_application(&key))
}

fn key_of(text: &str) -> Result<AppKey, Failure> {
    let (namespace, name) = text.split_once('/').ok_or_else(wrong_token)?;
    Ok(AppKey { namespace: namespace.to_owned(), name: name.to_owned() })
}

/// Reads what belongs to some applications, and returns them in the same order.
async fn views(store: &Store, rows: Vec<ApplicationRow>) -> Result<Vec<Application>, Failure> {
    let ids: Vec<AppId> = rows.iter().map(|row| row.id).collect();
    let mut cells: HashMap<AppId, Vec<CellDecisionRow>> = HashMap::new();
    for (app, cell) in store.cell_decision_list(&ids).await? {
        cells.entry(app).or_default().push(cell);
    }
    let mut objects: HashMap<AppId, Vec<PlacementRow>> = HashMap::new();
    for object in store.placement_list(&ids).await? {
        objects.entry(object.app).or_default().push(object);
    }
    let status: HashMap<PlacementId, StatusRow> =
        store.status_list(&ids).await?.into_iter().map(|status| (status.placement, status)).collect();
    Ok(rows
        .into_iter()
        .map(|row| {
            let cells = cells.remove(&row.id).unwrap_or_default();
            let status = counts(&objects.remove(&row.id).unwrap_or_default(), &status);
            view(row, cells, status)
        })
        .collect())
}

fn view(row: ApplicationRow, cells: Vec<CellDecisionRow>, status: ApplicationStatus) -> Application {
    let decision = row.decision.unwrap_or(Value::Null);
    Application {
        namespace: row.key.namespace,
        name: row.key.name,
        generation: row.generation,
        decided_generation: row.decided_generation,
        revision: row.revision.short(),
        replicas: row.intent.get("replicas").and_then(Value::as_i64).unwrap_or(0),
        suspended: row.intent.get("suspended").and_then(Value::as_bool).unwrap_or(false),
        leaving: row.removal.is_some(),
        decision: Decision {
            short: decision.get("short").and_then(Value::as_bool).unwrap_or(false),
            hold: decision.get("hold").and_then(Value::as_str).map(str::to_owned),
            problems: decision.get("problems").and_then(Value::as_array).map_or(0, Vec::len),
            as_of: row.decided_at,
        },
        cells: cells
            .into_iter()
            .map(|cell| ApplicationCell {
                cell: cell.cell,
                slot: cell.slot.as_str().to_owned(),
                target: cell.target,
                revision: cell.revision.short(),
            })
            .collect(),
        status,
    }
}

fn counts(objects: &[PlacementRow], status: &HashMap<PlacementId, StatusRow>) -> ApplicationStatus {
    let mut counts = ApplicationStatus::default();
    let mut states: BTreeMap<String, usize> = BTreeMap::new();
    for object in objects {
        let status = status.get(&object.id);
        *states.entry(status.map_or(WAITING, |status| status.state.as_str()).to_owned()).or_default() += 1;
        counts.objects += usize::from(object.desired_state == DesiredState::Present);
        if object.divided {
            counts.target += i64::from(object.target);
            counts.ready += status.map_or(0, |status| i64::from(status.ready));
            counts.available += status.map_or(0, |status| i64::from(status.available));
        }
        let seen = status.map(|status| status.changed_at);
        counts.as_of = match (counts.as_of, seen) {
            (Some(oldest), Some(seen)) => Some(oldest.min(seen)),
            (oldest, seen) => oldest.or(seen),
        };
    }
    ApplicationStatus { states, ..counts }
}

fn placed(object: PlacementRow, status: Option<&StatusRow>) -> PlacedObject {
    PlacedObject {
        component: object.component,
        cell: object.cell,
        slot: object.slot.as_str().to_owned(),
        revision: object.revision.short(),
        cluster: object.cluster,
        kind: object.object.kind,
        namespace: object.object.namespace,
        name: object.object.name,
        desired: object.desired_state.as_str().to_owned(),
        target: object.divided.then_some(object.target),
        state: status.map_or(WAITING, |status| status.state.as_str()).to_owned(),
        message: status.and_then(|status| status.message.clone()),
        ready: status.map_or(0, |status| status.ready),
        available: status.map_or(0, |status| status.available),
        stale: status.is_some_and(|status| status.stale),
        as_of: status.map(|status| status.changed_at),
    }
}
