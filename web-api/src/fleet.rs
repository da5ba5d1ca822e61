//! `GET /clusters` and `GET /cells`: the fleet, as the database has it.

use std::collections::BTreeMap;

use access::Right;
use axum::extract::RawQuery;
use axum::response::Response;
use jiff::Timestamp;
use rest::{Cell, Cluster, Page};
use serde_json::Value;
use store::{CellRow, ClusterRow, ClusterStatusRow};

use crate::answer::json;
use crate::body::Query;
use crate::caller::Caller;
use crate::failure::Failure;
use crate::page::PageRequest;

pub(crate) async fn clusters(caller: Caller, RawQuery(query): RawQuery) -> Result<Response, Failure> {
    let query = Query::parse(query.as_deref(), &["pageSize", "pageToken"])?;
    let page = PageRequest::of(&query, "clusters")?;
    caller.require(Right::List, None).await?;
    let rows = caller.store().cluster_list().await?;
    Ok(json(&page_of(rows.into_iter().map(cluster), &page, "clusters", |cluster| &cluster.name)))
}

pub(crate) async fn cells(caller: Caller, RawQuery(query): RawQuery) -> Result<Response, Failure> {
    let query = Query::parse(query.as_deref(), &["pageSize", "pageToken"])?;
    let page = PageRequest::of(&query, "cells")?;
    caller.require(Right::List, None).await?;
    let now = Timestamp::now();
    let rows = caller.store().cell_list().await?;
    // The row of a cell without a declaration stays for its authority, also when its cluster is gone.
    let names: Vec<String> =
        caller.store().cluster_taken_list().await?.into_iter().map(|cluster| cluster.name).collect();
    let exists = |row: &CellRow| row.spec.is_some() || names.contains(&row.name);
    let cells = rows.into_iter().filter(exists).map(|row| cell(row, now));
    Ok(json(&page_of(cells, &page, "cells", |cell| &cell.name)))
}

/// Cuts a page out of a list of at most some thousand items.
fn page_of<T>(items: impl Iterator<Item = T>, page: &PageRequest, list: &str, name: impl Fn(&T) -> &String) -> Page<T> {
    let mut items: Vec<T> = items.collect();
    items.sort_by(|a, b| name(a).cmp(name(b)));
    items.retain(|item| page.after.as_ref().is_none_or(|after| name(item) > after));
    items.truncate(usize::try_from(page.size).unwrap_or(usize::MAX));
    let next_page_token = page.next(list, items.len(), items.last().map(|last| name(last).clone()));
    Page { items, next_page_token }
}

/// Returns labels that are texts.
fn labels(value: &Value) -> BTreeMap<String, String> {
    let text = |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
    value.as_object().into_iter().flatten().filter_map(text).collect()
}

fn text(value: &Value, field: &str) -> Option<String> {
    value.get(field)?.as_str().map(str::to_owned)
}

fn flag(value: &Value, field: &str) -> bool {
    value.get(field).and_then(Value::as_bool).unwrap_or(false)
}

/// The connection stays out: a proxy's URL may contain a password.
fn cluster(row: ClusterRow) -> Cluster {
    let spec = &row.taken.spec;
    let status = row.status.unwrap_or_else(ClusterStatusRow::unknown);
    let zones = spec.get("zones").and_then(Value::as_array).into_iter().flatten();
    Cluster {
        labels: labels(&row.taken.labels),
        region: text(spec, "region").unwrap_or_default(),
        zones: zones.filter_map(|zone| zone.as_str().map(str::to_owned)).collect(),
        cordoned: flag(spec, "cordoned") || flag(spec, "drain"),
        draining: flag(spec, "drain"),
        leaving: row.taken.removal.is_some(),
        name: row.taken.name,
        health: status.health.as_str().to_owned(),
        reason: status.reason,
        message: status.message,
        unhealthy_since: status.unhealthy_since,
        version: status.version,
        capacity: status.capacity,
        as_of: status.as_of,
    }
}

fn cell(row: CellRow, now: Timestamp) -> Cell {
    let spec = row.spec.as_ref();
    Cell {
        cluster: spec.and_then(|spec| text(spec, "cluster")).unwrap_or_else(|| row.name.clone()),
        zone: spec.and_then(|spec| text(spec, "zone")),
        labels: labels(&row.labels),
        declared: spec.is_some(),
        leaving: row.leaving,
        authority: row.authority,
        name: row.name,
        as_of: now,
    }
}
