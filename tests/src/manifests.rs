//! Manifests that many scenarios apply.

use std::collections::BTreeMap;

use crds::Application;
use serde_json::{Value, json};

use crate::Fleet;

/// Members of the usual fleet.
pub const MEMBERS: [&str; 3] = ["north-a", "north-b", "south-a"];

/// Builds a template: a Deployment of one small container.
pub fn deployment(name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {"containers": [{"name": "main", "image": image, "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}}]}}}
    })
}

/// Builds an Application with the given spec.
pub fn app(namespace: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": "fleet.meridian.io/v1alpha1", "kind": "Application", "metadata": {"name": name, "namespace": namespace}, "spec": spec})
}

/// Builds an Application of one Deployment that is spread evenly over at least two zones.
pub fn web(namespace: &str, name: &str, replicas: i32) -> Value {
    app(
        namespace,
        name,
        json!({
            "replicas": replicas,
            "components": [{"name": "server", "template": deployment(name, "web:1")}],
            "placement": {"spread": [{"topology": "Zone", "maxSkew": 1, "minDomains": 2}]},
        }),
    )
}

/// Creates a namespace on the hub.
///
/// # Errors
/// If the hub refuses the namespace.
pub fn namespace(fleet: &Fleet, name: &str) -> anyhow::Result<()> {
    fleet.apply("hub", &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
}

/// Applies a merge patch to an Application.
///
/// # Errors
/// If the hub refuses the patch.
pub fn patch(fleet: &Fleet, namespace: &str, name: &str, change: &Value) -> anyhow::Result<()> {
    fleet
        .kubectl("hub", &["patch", "mapp", name, "-n", namespace, "--type", "merge", "-p", &change.to_string()])
        .map(drop)
}

/// Returns the replicas that are decided for every cell, by `cluster/cell`.
pub fn cells(app: &Application) -> BTreeMap<String, i32> {
    app.status
        .iter()
        .flat_map(|status| &status.cells)
        .map(|cell| (format!("{}/{}", cell.cluster, cell.cell), cell.desired))
        .collect()
}
