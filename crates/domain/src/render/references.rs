//! Rewrites references by name to components that have another name in the member.
//!
//! The table of references is closed: names elsewhere belong to the user.

use std::collections::BTreeMap;

use serde_json::Value;

use super::kinds::{at_mut, group, pod_template_path};

/// Kinds of volumes whose credentials are a Secret named by `secretRef`.
const VOLUMES_WITH_SECRET_REF: [&str; 7] = ["cephfs", "cinder", "flexVolume", "iscsi", "rbd", "scaleIO", "storageos"];

/// Rendered names by kind and template name.
pub(super) type Siblings = BTreeMap<(String, String), String>;

/// Rewrites the references of an object, including those of its pods.
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
        ("autoscaling", "HorizontalPodAutoscaler") => rewrite_autoscaler(object, siblings),
        ("", "ServiceAccount") => {
            for key in ["secrets", "imagePullSecrets"] {
                items(object, key).for_each(|secret| rename(secret, &["name"], "Secret", siblings));
            }
        }
        ("", "Secret") => {
            let path = ["metadata", "annotations", "kubernetes.io/service-account.name"];
            rename(object, &path, "ServiceAccount", siblings);
        }
        ("", "PersistentVolumeClaim") => {
            for key in ["dataSource", "dataSourceRef"] {
                rename_typed(at_mut(object, &["spec", key]), siblings);
            }
        }
        _ => {}
    }
}

fn rewrite_pod(pod: &mut Value, siblings: &Siblings) {
    for key in ["serviceAccountName", "serviceAccount"] {
        rename(pod, &[key], "ServiceAccount", siblings);
    }
    items(pod, "imagePullSecrets").for_each(|secret| rename(secret, &["name"], "Secret", siblings));
    for claim in items(pod, "resourceClaims") {
        rename(claim, &["resourceClaimName"], "ResourceClaim", siblings);
        rename(claim, &["resourceClaimTemplateName"], "ResourceClaimTemplate", siblings);
    }
    for volume in items(pod, "volumes") {
        rename(volume, &["configMap", "name"], "ConfigMap", siblings);
        rename(volume, &["secret", "secretName"], "Secret", siblings);
        rename(volume, &["azureFile", "secretName"], "Secret", siblings);
        rename(volume, &["persistentVolumeClaim", "claimName"], "PersistentVolumeClaim", siblings);
        rename(volume, &["csi", "nodePublishSecretRef", "name"], "Secret", siblings);
        for driver in VOLUMES_WITH_SECRET_REF {
            rename(volume, &[driver, "secretRef", "name"], "Secret", siblings);
        }
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
    rename_backend(spec.get_mut("defaultBackend"), siblings);
    items(spec, "tls").for_each(|tls| rename(tls, &["secretName"], "Secret", siblings));
    for rule in items(spec, "rules") {
        if let Some(http) = rule.get_mut("http") {
            for path in items(http, "paths") {
                rename_backend(path.get_mut("backend"), siblings);
            }
        }
    }
}

fn rename_backend(backend: Option<&mut Value>, siblings: &Siblings) {
    let Some(backend) = backend else { return };
    rename(backend, &["service", "name"], "Service", siblings);
    rename_typed(backend.get_mut("resource"), siblings);
}

fn rewrite_autoscaler(object: &mut Value, siblings: &Siblings) {
    let Some(spec) = object.get_mut("spec") else { return };
    rename_typed(spec.get_mut("scaleTargetRef"), siblings);
    for metric in items(spec, "metrics") {
        rename_typed(at_mut(metric, &["object", "describedObject"]), siblings);
    }
}

fn items<'a>(value: &'a mut Value, key: &str) -> impl Iterator<Item = &'a mut Value> {
    value.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten()
}

/// Renames a reference that states the kind of its target.
fn rename_typed(reference: Option<&mut Value>, siblings: &Siblings) {
    let Some(reference) = reference else { return };
    if let Some(kind) = reference.get("kind").and_then(Value::as_str).map(str::to_owned) {
        rename(reference, &["name"], &kind, siblings);
    }
}

fn rename(value: &mut Value, path: &[&str], kind: &str, siblings: &Siblings) {
    let Some(Value::String(name)) = at_mut(value, path) else { return };
    if let Some(rendered) = siblings.get(&(kind.to_owned(), name.clone())) {
        name.clone_from(rendered);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Returns a pod spec with every reference of the table.
    ///
    /// Each reference names `NAME` in the template and must name `NAME-east` in the member.
    fn pods() -> Value {
        json!({
            "serviceAccountName": "account", "serviceAccount": "account",
            "imagePullSecrets": [{"name": "secret"}, {"name": "foreign"}],
            "resourceClaims": [{"name": "gpu", "resourceClaimName": "claim"}, {"name": "gpu2", "resourceClaimTemplateName": "claims"}],
            "volumes": [
                {"configMap": {"name": "config"}}, {"secret": {"secretName": "secret"}}, {"azureFile": {"secretName": "secret"}},
                {"persistentVolumeClaim": {"claimName": "disk"}}, {"csi": {"driver": "d", "nodePublishSecretRef": {"name": "secret"}}},
                {"iscsi": {"secretRef": {"name": "secret"}}}, {"flexVolume": {"secretRef": {"name": "secret"}}},
                {"projected": {"sources": [{"configMap": {"name": "config"}}, {"secret": {"name": "secret"}}]}},
            ],
            "initContainers": [{"envFrom": [{"configMapRef": {"name": "config"}}, {"secretRef": {"name": "secret"}}]}],
            "containers": [{"env": [
                {"name": "a", "valueFrom": {"configMapKeyRef": {"name": "config", "key": "k"}}},
                {"name": "b", "valueFrom": {"secretKeyRef": {"name": "secret", "key": "k"}}},
            ]}],
        })
    }

    #[test]
    fn every_reference_to_a_sibling_follows_its_name() {
        let named = [
            ("ServiceAccount", "account"),
            ("Secret", "secret"),
            ("ConfigMap", "config"),
            ("PersistentVolumeClaim", "disk"),
            ("ResourceClaim", "claim"),
            ("ResourceClaimTemplate", "claims"),
            ("Service", "service"),
            ("Deployment", "web"),
        ];
        let siblings: Siblings = named
            .iter()
            .map(|(kind, name)| (((*kind).to_owned(), (*name).to_owned()), format!("{name}-east")))
            .collect();
        for (api_version, kind, mut object) in [
            ("apps/v1", "Deployment", json!({"spec": {"template": {"spec": pods()}}})),
            ("batch/v1", "CronJob", json!({"spec": {"jobTemplate": {"spec": {"template": {"spec": pods()}}}}})),
            ("apps/v1", "StatefulSet", json!({"spec": {"serviceName": "service", "template": {"spec": pods()}}})),
            (
                "networking.k8s.io/v1",
                "Ingress",
                json!({"spec": {
                    "tls": [{"hosts": ["a.example"], "secretName": "secret"}],
                    "defaultBackend": {"resource": {"kind": "Service", "name": "service"}},
                    "rules": [{"http": {"paths": [{"backend": {"service": {"name": "service"}}}]}}],
                }}),
            ),
            (
                "autoscaling/v2",
                "HorizontalPodAutoscaler",
                json!({"spec": {
                    "scaleTargetRef": {"kind": "Deployment", "name": "web"},
                    "metrics": [{"object": {"describedObject": {"kind": "Service", "name": "service"}}}],
                }}),
            ),
            (
                "v1",
                "ServiceAccount",
                json!({"secrets": [{"name": "secret"}], "imagePullSecrets": [{"name": "secret"}]}),
            ),
            ("v1", "Secret", json!({"metadata": {"annotations": {"kubernetes.io/service-account.name": "account"}}})),
            (
                "v1",
                "PersistentVolumeClaim",
                json!({"spec": {"dataSource": {"kind": "PersistentVolumeClaim", "name": "disk"}}}),
            ),
        ] {
            rewrite(api_version, kind, &mut object, &siblings);
            let text = object.to_string();
            for (_, name) in named {
                assert!(!text.contains(&format!(":\"{name}\"")), "{kind} still names {name}: {text}");
            }
            assert!(kind != "Deployment" || text.contains("\"foreign\""), "names elsewhere are the user's: {text}");
        }
    }
}
