//! Objects that many scenarios apply.

use std::collections::BTreeMap;

use crds::Application;
use serde_json::{Value, json};

use crate::Fleet;

/// The usual members.
pub const MEMBERS: [&str; 3] = ["north-a", "north-b", "south-a"];

/// A Deployment of one small container, as a template.
pub fn deployment(name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {"containers": [{"name": "main", "image": image, "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}}]}}}
    })
}

/// An Application.
pub fn app(namespace: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": "fleet.meridian.io/v1alpha1", "kind": "Application", "metadata": {"name": name, "namespace": namespace}, "spec": spec})
}

/// An Application of one Deployment, spread evenly over at least two zones.
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

/// Makes a namespace on the hub.
///
/// # Errors
/// When it is refused.
pub fn namespace(fleet: &Fleet, name: &str) -> anyhow::Result<()> {
    fleet.apply("hub", &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
}

/// Changes an Application.
///
/// # Errors
/// When it is refused.
pub fn patch(fleet: &Fleet, namespace: &str, name: &str, change: &Value) -> anyhow::Result<()> {
    fleet
        .kubectl("hub", &["patch", "mapp", name, "-n", namespace, "--type", "merge", "-p", &change.to_string()])
        .map(drop)
}

/// Replicas decided for every cell, as `cluster/cell`.
pub fn cells(app: &Application) -> BTreeMap<String, i32> {
    app.status
        .iter()
        .flat_map(|status| &status.cells)
        .map(|cell| (format!("{}/{}", cell.cluster, cell.cell), cell.desired))
        .collect()
}
