//! Reads the state of hub, database and members after all faults ended.

use std::collections::BTreeMap;

use acceptance::{Fleet, condition};
use anyhow::Context;
use crds::Application;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::gathered::{End, Object, Shown};
use crate::run::NAMESPACE;
use crate::watch::status;

const ROWS: &str = "select coalesce(json_object_agg(name, json_build_object('replicas', (intent->>'replicas')::int, \
    'revision', encode(revision, 'hex'), 'removal', removal)), '{}') from application where namespace = '$'";

const PLACEMENTS: &str = "select coalesce(json_agg(json_build_object('app', a.name, 'cluster', p.cluster, \
    'kind', p.kind, 'name', p.object_name, 'divided', p.divided, 'target', p.target, \
    'rendered', greatest(p.target, p.floor) + p.surge, 'desired_state', p.wish, 'state', s.state, \
    'revision', encode(p.revision, 'hex'), 'applied', encode(s.applied_revision, 'hex'), \
    'available', coalesce(s.available, 0))), '[]') \
    from placement p join application a on a.id = p.app left join placement_status s on s.placement = p.id \
    where p.namespace = '$'";

/// Reads applications on the hub, rows in the database, and objects in members.
pub(crate) async fn look(fleet: &Fleet) -> anyhow::Result<End> {
    let apps: Api<Application> = Api::namespaced(fleet.client("hub").await?, NAMESPACE);
    let hub = apps.list(&ListParams::default()).await?.items.iter().map(|app| (app.name_any(), shown(app))).collect();
    let mut objects = Vec::new();
    for (cluster, plane) in &fleet.bed.members {
        let list = fleet.kubectl(
            plane.name(),
            &["get", "deployments,configmaps", "-n", NAMESPACE, "-l", vocabulary::labels::MANAGED, "-o", "json"],
        )?;
        let list: Value = serde_json::from_str(&list)?;
        objects.extend(list["items"].as_array().context("a list")?.iter().map(|one| object(cluster, one)));
    }
    Ok(End { hub, rows: rows(fleet, ROWS)?, placements: rows(fleet, PLACEMENTS)?, objects })
}

fn rows<T: DeserializeOwned>(fleet: &Fleet, query: &str) -> anyhow::Result<T> {
    let text = fleet.bed.postgres.query(&query.replace('$', NAMESPACE))?;
    serde_json::from_str(&text).with_context(|| text.clone())
}

fn shown(app: &Application) -> Shown {
    let status_now = app.status.clone().unwrap_or_default();
    let spec = serde_json::to_value(&app.spec).unwrap_or_default();
    let image = "/components/0/template/spec/template/spec/containers/0/image";
    let (ready, message) = condition(app, "Ready").unwrap_or(("", "no condition"));
    Shown {
        replicas: spec["replicas"].as_i64().unwrap_or(0),
        image: spec.pointer(image).and_then(Value::as_str).unwrap_or_default().to_owned(),
        current: status_now.observed_generation == app.metadata.generation,
        going: app.metadata.deletion_timestamp.is_some(),
        shortfall: status_now.decision.as_ref().map_or(0, |decision| i64::from(decision.shortfall)),
        is_ready: (ready.to_owned(), message.to_owned()),
        status: status(app, 0),
        desired: i64::from(status_now.desired),
        placed: i64::from(status_now.placed),
        revision: status_now.revision.unwrap_or_default(),
        pending: status_now.pending_deletes.map(|pending| pending.plan),
    }
}

fn object(cluster: &str, one: &Value) -> Object {
    let text = |pointer: &str| one.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let number = |pointer: &str| one.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
    let annotations: BTreeMap<String, String> =
        serde_json::from_value(one["metadata"]["annotations"].clone()).unwrap_or_default();
    Object {
        cluster: cluster.to_owned(),
        kind: text("/kind"),
        name: text("/metadata/name"),
        replicas: number("/spec/replicas"),
        available: number("/status/availableReplicas"),
        ready: number("/status/readyReplicas"),
        image: text("/spec/template/spec/containers/0/image"),
        fence: annotations.get(vocabulary::labels::FENCE).cloned(),
    }
}
