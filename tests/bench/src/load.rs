//! Load of users on the hub: creates and edits Applications over keep-alive connections.

use std::time::Instant;

use anyhow::Context;
use crds::Application;
use futures::future::try_join_all;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::witness::EDIT;

/// Number of connections that create Applications.
const CONNECTIONS: usize = 8;

/// Builds an Application of one Deployment that is spread over zones, like the peer's workload.
pub(crate) fn application(namespace: &str, name: &str, replicas: i32) -> anyhow::Result<Application> {
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "annotations": {EDIT: "0"}},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {"containers": [{"name": "main", "image": "registry.example/web:1",
                "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}}]}}}
    });
    Ok(serde_json::from_value(json!({
        "apiVersion": "fleet.meridian.io/v1alpha1", "kind": "Application",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "components": [{"name": "server", "template": deployment}],
            "placement": {"spread": [{"topology": "Zone", "maxSkew": 1}]},
        }
    }))?)
}

/// Creates Applications over several connections.
///
/// Returns the time at which the hub accepted the last one.
pub(crate) async fn create(
    clients: &[Client],
    namespace: &str,
    count: usize,
    replicas: i32,
) -> anyhow::Result<Instant> {
    let connections = clients.len().max(1);
    let workers = clients.iter().enumerate().map(|(worker, client)| async move {
        let api = Api::<Application>::namespaced(client.clone(), namespace);
        for number in (worker..count).step_by(connections) {
            let object = application(namespace, &name(number), replicas)?;
            api.create(&PostParams::default(), &object).await.with_context(|| format!("creating {}", name(number)))?;
        }
        anyhow::Ok(())
    });
    try_join_all(workers).await?;
    Ok(Instant::now())
}

/// Connects clients to the hub, each with its own connection.
pub(crate) async fn clients(hub: &testbed::Plane) -> anyhow::Result<Vec<Client>> {
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(hub.client().await?);
    }
    Ok(clients)
}

/// Returns the name of the Application with this number.
pub(crate) fn name(number: usize) -> String {
    format!("app-{number:05}")
}

/// Changes the annotation of an Application's Deployment.
pub(crate) async fn annotate(api: &Api<Application>, name: &str, value: &str) -> anyhow::Result<()> {
    let path = format!("/spec/components/0/template/metadata/annotations/{}", EDIT.replace('/', "~1"));
    patch(api, name, &json!([{"op": "replace", "path": path, "value": value}])).await
}

/// Changes the number of replicas of an Application.
pub(crate) async fn scale(api: &Api<Application>, name: &str, replicas: i32) -> anyhow::Result<()> {
    patch(api, name, &json!([{"op": "replace", "path": "/spec/replicas", "value": replicas}])).await
}

async fn patch(api: &Api<Application>, name: &str, operations: &Value) -> anyhow::Result<()> {
    let patch = Patch::Json::<()>(serde_json::from_value(operations.clone())?);
    api.patch(name, &PatchParams::default(), &patch).await.with_context(|| format!("editing {name}"))?;
    Ok(())
}
