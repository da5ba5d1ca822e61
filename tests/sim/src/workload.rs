//! Status and pods that a member's own controllers would create for a Deployment. Pure.

use serde_json::{Value, json};

/// Returns the status of a Deployment whose pods are all available at once.
pub(crate) fn status(deployment: &Value) -> Value {
    let replicas = replicas(deployment);
    json!({
        "observedGeneration": deployment["metadata"]["generation"],
        "replicas": replicas, "updatedReplicas": replicas, "readyReplicas": replicas, "availableReplicas": replicas,
        "conditions": [{"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable", "message": "simulated"}],
    })
}

pub(crate) fn replicas(deployment: &Value) -> i64 {
    deployment["spec"]["replicas"].as_i64().unwrap_or(1)
}

/// Returns a running pod of a Deployment.
pub(crate) fn pod(deployment: &Value, number: i64, node: &str) -> Value {
    let metadata = &deployment["metadata"];
    let template = &deployment["spec"]["template"];
    let mut spec = template["spec"].clone();
    spec["nodeName"] = node.into();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": format!("{}-{number}", metadata["name"].as_str().unwrap_or_default()), "namespace": metadata["namespace"],
            "labels": template["metadata"]["labels"],
        },
        "spec": spec,
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    })
}

/// Returns a node of a zone with room for all pods.
pub(crate) fn node(name: &str, zone: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": zone, "kubernetes.io/hostname": name}},
        "spec": {},
        "status": {
            "allocatable": {"cpu": "64", "memory": "256Gi", "pods": "500"}, "capacity": {"cpu": "64", "memory": "256Gi", "pods": "500"},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    })
}
