//! References by name from one component to another that is named otherwise in the member.
//!
//! The table is closed: names elsewhere are the user's.

use std::collections::BTreeMap;

use serde_json::Value;

use super::kinds::{at_mut, group, pod_template_path};

/// Rendered names by kind and template name.
pub(super) type Siblings = BTreeMap<(String, String), String>;

/// Rewrites the references of an object, those of its pods included.
pub(super) fn rewrite(api_version: &str, kind: &str, object: &mut Value, siblings: &Siblings) {
    if siblings.iter().all(|((_, template), rendered)| template == rendered) {
        return;
    }
    if let Some(path) = pod_template_path(api_version, kind, object)
        && let Some(pod) = at_mut(object, path).and_then(|template| template.get_mut("spec"))
    {
        rewrite_pod(pod, siblings);
    }
    match (group(api_version), kind) {
        ("apps", "StatefulSet") => rename(object, &["spec", "serviceName"], "Service", siblings),
        ("networking.k8s.io", "Ingress") => rewrite_ingress(object, siblings),
        ("autoscaling", "HorizontalPodAutoscaler") => {
            let target = object.pointer("/spec/scaleTargetRef/kind").and_then(Value::as_str).map(str::to_owned);
            if let Some(target) = target {
                rename(object, &["spec", "scaleTargetRef", "name"], &target, siblings);
            }
        }
        _ => {}
    }
}

fn rewrite_pod(pod: &mut Value, siblings: &Siblings) {
    for key in ["serviceAccountName", "serviceAccount"] {
        rename(pod, &[key], "ServiceAccount", siblings);
    }
    for volume in items(pod, "volumes") {
        rename(volume, &["configMap", "name"], "ConfigMap", siblings);
        rename(volume, &["secret", "secretName"], "Secret", siblings);
        rename(volume, &["persistentVolumeClaim", "claimName"], "PersistentVolumeClaim", siblings);
        if let Some(projected) = volume.get_mut("projected") {
            for source in items(projected, "sources") {
                rename(source, &["configMap", "name"], "ConfigMap", siblings);
                rename(source, &["secret", "name"], "Secret", siblings);
            }
        }
    }
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        for container in items(pod, list) {
            for variable in items(container, "env") {
                rename(variable, &["valueFrom", "configMapKeyRef", "name"], "ConfigMap", siblings);
                rename(variable, &["valueFrom", "secretKeyRef", "name"], "Secret", siblings);
            }
            for source in items(container, "envFrom") {
                rename(source, &["configMapRef", "name"], "ConfigMap", siblings);
                rename(source, &["secretRef", "name"], "Secret", siblings);
            }
        }
    }
}

fn rewrite_ingress(object: &mut Value, siblings: &Siblings) {
    let Some(spec) = object.get_mut("spec") else { return };
    rename(spec, &["defaultBackend", "service", "name"], "Service", siblings);
    for rule in items(spec, "rules") {
        if let Some(http) = rule.get_mut("http") {
            for path in items(http, "paths") {
                rename(path, &["backend", "service", "name"], "Service", siblings);
            }
        }
    }
}

fn items<'a>(value: &'a mut Value, key: &str) -> impl Iterator<Item = &'a mut Value> {
    value.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten()
}

fn rename(value: &mut Value, path: &[&str], kind: &str, siblings: &Siblings) {
    let Some(Value::String(name)) = at_mut(value, path) else { return };
    if let Some(rendered) = siblings.get(&(kind.to_owned(), name.clone())) {
        name.clone_from(rendered);
    }
}
