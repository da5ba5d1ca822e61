//! Detects misspelled kinds and retired versions, and removes empty fields. Pure.
//!
//! People and generators write such fields and mean something else.

use serde_json::Value;

/// Returns a problem when a kind or API version has the form of another system or an older Kubernetes.
pub(super) fn kind_problem(api_version: &str, kind: &str) -> Option<(&'static str, String)> {
    let known = KNOWN.iter().find(|(_, known)| known.eq_ignore_ascii_case(kind))?;
    if known.1 != kind && (known.0 == api_version || RETIRED.contains(&api_version)) {
        return Some(("kind", format!("there is no kind {kind}; did you mean {}?", known.1)));
    }
    (RETIRED.contains(&api_version) && known.0 != api_version).then(|| {
        let message = format!("no member serves {kind} as {api_version} any more; did you mean {}?", known.0);
        ("apiVersion", message)
    })
}

/// Kinds of every cluster, with the version in which all supported members serve them.
const KNOWN: [(&str, &str); 18] = [
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "DaemonSet"),
    ("apps/v1", "ReplicaSet"),
    ("v1", "ReplicationController"),
    ("batch/v1", "Job"),
    ("batch/v1", "CronJob"),
    ("v1", "ConfigMap"),
    ("v1", "Secret"),
    ("v1", "Service"),
    ("v1", "ServiceAccount"),
    ("v1", "PersistentVolumeClaim"),
    ("v1", "LimitRange"),
    ("v1", "ResourceQuota"),
    ("networking.k8s.io/v1", "Ingress"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("policy/v1", "PodDisruptionBudget"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
];

/// Versions of those kinds that no supported member serves.
const RETIRED: [&str; 8] = [
    "extensions/v1beta1",
    "apps/v1beta1",
    "apps/v1beta2",
    "batch/v1beta1",
    "networking.k8s.io/v1beta1",
    "policy/v1beta1",
    "autoscaling/v2beta1",
    "autoscaling/v2beta2",
];

/// Returns the template without the meaningless fields that `kubectl create --dry-run` writes.
///
/// These are an empty status and a `creationTimestamp` that is null.
pub(super) fn without_empty_fields(template: &Value) -> Value {
    let mut template = template.clone();
    let is_empty = |value: &Value| value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty);
    if let Some(object) = template.as_object_mut()
        && object.get("status").is_some_and(is_empty)
    {
        object.remove("status");
    }
    drop_null_metadata(&mut template);
    template
}

/// Removes a null `creationTimestamp` from the object and from the templates within it.
fn drop_null_metadata(value: &mut Value) {
    let Some(map) = value.as_object_mut() else { return };
    if let Some(metadata) = map.get_mut("metadata").and_then(Value::as_object_mut)
        && metadata.get("creationTimestamp").is_some_and(Value::is_null)
    {
        metadata.remove("creationTimestamp");
    }
    for key in ["spec", "template", "jobTemplate"] {
        if let Some(inner) = map.get_mut(key) {
            drop_null_metadata(inner);
        }
    }
}
