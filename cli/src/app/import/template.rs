//! Turns a live object into the template that a person would have declared.
//!
//! The template omits fields that servers and controllers write, and fields that hold the server's default. Applying
//! the template to the live object changes nothing.

use serde_json::{Map, Value, json};
use vocabulary::labels;

/// Annotations that servers, controllers and `kubectl` write for their own use.
const BOOKKEEPING: [&str; 11] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    "kubectl.kubernetes.io/restartedAt",
    "deployment.kubernetes.io/revision",
    "deprecated.daemonset.template.generation",
    "batch.kubernetes.io/job-tracking",
    "pv.kubernetes.io/bind-completed",
    "pv.kubernetes.io/bound-by-controller",
    "volume.kubernetes.io/selected-node",
    "volume.kubernetes.io/storage-provisioner",
    "volume.beta.kubernetes.io/storage-provisioner",
    "control-plane.alpha.kubernetes.io/leader",
];

/// Labels by which the Job controller identifies its own pods.
const OF_JOBS: [&str; 4] =
    ["controller-uid", "batch.kubernetes.io/controller-uid", "job-name", "batch.kubernetes.io/job-name"];

/// Returns the template of a live object.
pub(super) fn template_of(live: &Value) -> Value {
    let mut object = live.clone();
    let Some(fields) = object.as_object_mut() else { return object };
    fields.shift_remove("status");
    let metadata = fields.shift_remove("metadata").unwrap_or_default();
    let mut kept = Map::new();
    for key in ["name", "labels", "annotations"] {
        if let Some(value) = metadata.get(key) {
            kept.insert(key.to_owned(), value.clone());
        }
    }
    let mut kept = Value::Object(kept);
    bare_metadata(&mut kept);
    let mut ordered = Map::new();
    for key in ["apiVersion", "kind"] {
        ordered.insert(key.to_owned(), fields.shift_remove(key).unwrap_or_default());
    }
    ordered.insert("metadata".to_owned(), kept);
    ordered.append(fields);
    let mut object = Value::Object(ordered);
    of_kind(&mut object);
    object
}

fn of_kind(object: &mut Value) {
    let api_version = object["apiVersion"].as_str().unwrap_or_default().to_owned();
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    match (group, object["kind"].as_str().unwrap_or_default()) {
        ("", "Service") => service(object),
        ("", "ServiceAccount") => account(object),
        ("", "PersistentVolumeClaim") => {
            if let Some(spec) = object.get_mut("spec") {
                drop(spec, &["volumeName"]);
                drop_defaults(spec, &json!({ "volumeMode": "Filesystem" }));
            }
        }
        ("apps", _) => {
            if let Some(spec) = object.get_mut("spec") {
                workload(spec);
            }
        }
        ("batch", "Job") => {
            if let Some(spec) = object.get_mut("spec") {
                job(spec);
            }
        }
        ("batch", "CronJob") => {
            if let Some(spec) = object.get_mut("spec") {
                drop_defaults(
                    spec,
                    &json!({ "concurrencyPolicy": "Allow", "failedJobsHistoryLimit": 1, "successfulJobsHistoryLimit": 3,
                        "suspend": false }),
                );
                if let Some(job_template) = spec.get_mut("jobTemplate") {
                    metadata_of(job_template);
                    if let Some(spec) = job_template.get_mut("spec") {
                        job(spec);
                    }
                }
            }
        }
        _ => {}
    }
    if let Some(pods) = pod_template(object) {
        metadata_of(pods);
        if let Some(spec) = pods.get_mut("spec") {
            pod(spec);
        }
    }
}

fn pod_template(object: &mut Value) -> Option<&mut Value> {
    let pointer = if object["kind"] == "CronJob" { "/spec/jobTemplate/spec/template" } else { "/spec/template" };
    object.pointer_mut(pointer).filter(|template| template.pointer("/spec/containers").is_some_and(Value::is_array))
}

/// Cleans the metadata within an object, such as that of its pods.
fn metadata_of(holder: &mut Value) {
    if let Some(metadata) = holder.get_mut("metadata") {
        drop(metadata, &["creationTimestamp"]);
        bare_metadata(metadata);
    }
    drop_empty(holder, &["metadata"]);
}

fn bare_metadata(metadata: &mut Value) {
    for key in ["labels", "annotations"] {
        if let Some(map) = metadata.get_mut(key).and_then(Value::as_object_mut) {
            map.retain(|name, _| !BOOKKEEPING.contains(&name.as_str()) && !name.starts_with(labels::PREFIX));
        }
    }
    drop_empty(metadata, &["labels", "annotations"]);
}

fn service(object: &mut Value) {
    let Some(spec) = object.get_mut("spec") else { return };
    // A person declares `None` to make a Service headless. Any other address was assigned by the server.
    if spec["clusterIP"] == "None" {
        drop(spec, &["clusterIPs"]);
    } else {
        drop(spec, &["clusterIP", "clusterIPs"]);
    }
    drop(spec, &["healthCheckNodePort"]);
    drop_defaults(
        spec,
        &json!({ "type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
            "externalTrafficPolicy": "Cluster", "allocateLoadBalancerNodePorts": true, "ipFamilyPolicy": "SingleStack" }),
    );
    if spec.get("ipFamilyPolicy").is_none() {
        drop(spec, &["ipFamilies"]);
    }
    for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
        drop(port, &["nodePort"]);
        drop_defaults(port, &json!({ "protocol": "TCP" }));
        if port.get("targetPort") == port.get("port") {
            drop(port, &["targetPort"]);
        }
    }
}

/// Removes the token Secrets that a controller made and listed.
fn account(object: &mut Value) {
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    if let Some(secrets) = object.get_mut("secrets").and_then(Value::as_array_mut) {
        let made =
            |secret: &str| ["token", "dockercfg"].iter().any(|what| secret.starts_with(&format!("{name}-{what}-")));
        secrets.retain(|secret| !secret["name"].as_str().is_some_and(made));
    }
    drop_empty(object, &["secrets"]);
}

fn workload(spec: &mut Value) {
    drop_defaults(
        spec,
        &json!({
            "progressDeadlineSeconds": 600, "revisionHistoryLimit": 10, "minReadySeconds": 0,
            "podManagementPolicy": "OrderedReady",
            "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": "25%", "maxSurge": "25%" } },
            "persistentVolumeClaimRetentionPolicy": { "whenDeleted": "Retain", "whenScaled": "Retain" },
        }),
    );
    for default in [
        json!({ "type": "RollingUpdate", "rollingUpdate": { "partition": 0 } }),
        json!({ "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 1, "maxSurge": 0 } }),
    ] {
        drop_defaults(spec, &json!({ "updateStrategy": default }));
    }
    for claim in spec.get_mut("volumeClaimTemplates").and_then(Value::as_array_mut).into_iter().flatten() {
        drop(claim, &["status", "apiVersion", "kind"]);
        metadata_of(claim);
        if let Some(spec) = claim.get_mut("spec") {
            drop_defaults(spec, &json!({ "volumeMode": "Filesystem" }));
        }
    }
}

/// Removes a Job's generated selector and its default values.
///
/// The API server generates a selector that names the Job's own UID, unless a person manages the selector.
fn job(spec: &mut Value) {
    if spec["manualSelector"] != true {
        drop(spec, &["selector"]);
        if let Some(labels) = spec.pointer_mut("/template/metadata/labels").and_then(Value::as_object_mut) {
            labels.retain(|name, _| !OF_JOBS.contains(&name.as_str()));
        }
    }
    drop_defaults(
        spec,
        &json!({ "backoffLimit": 6, "completionMode": "NonIndexed", "completions": 1, "parallelism": 1, "suspend": false,
            "manualSelector": false, "podReplacementPolicy": "TerminatingOrFailed" }),
    );
}

fn pod(spec: &mut Value) {
    if spec.get("serviceAccount") == spec.get("serviceAccountName") {
        drop(spec, &["serviceAccount"]);
    }
    drop_defaults(
        spec,
        &json!({ "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst",
            "schedulerName": "default-scheduler", "securityContext": {} }),
    );
    for list in ["initContainers", "containers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            self::container(container);
        }
    }
    for volume in spec.get_mut("volumes").and_then(Value::as_array_mut).into_iter().flatten() {
        for source in ["configMap", "secret", "projected", "downwardAPI"] {
            if let Some(source) = volume.get_mut(source) {
                drop_defaults(source, &json!({ "defaultMode": 420 }));
            }
        }
        if let Some(path) = volume.get_mut("hostPath") {
            drop_defaults(path, &json!({ "type": "" }));
        }
        let fields = volume.pointer_mut("/downwardAPI/items").and_then(Value::as_array_mut);
        for item in fields.into_iter().flatten() {
            if let Some(field) = item.get_mut("fieldRef") {
                drop_defaults(field, &json!({ "apiVersion": "v1" }));
            }
        }
    }
}

fn container(container: &mut Value) {
    let image = container["image"].as_str().unwrap_or_default();
    let tag = image.rsplit('/').next().unwrap_or_default();
    let floats = !tag.contains('@') && tag.split_once(':').is_none_or(|(_, tag)| tag == "latest");
    let pull = if floats { "Always" } else { "IfNotPresent" };
    drop_defaults(
        container,
        &json!({ "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
            "imagePullPolicy": pull, "resources": {} }),
    );
    for port in container.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
        drop_defaults(port, &json!({ "protocol": "TCP" }));
    }
    for variable in container.get_mut("env").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(field) = variable.pointer_mut("/valueFrom/fieldRef") {
            drop_defaults(field, &json!({ "apiVersion": "v1" }));
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(probe) = container.get_mut(probe) else { continue };
        drop_defaults(
            probe,
            &json!({ "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3 }),
        );
        if let Some(get) = probe.get_mut("httpGet") {
            drop_defaults(get, &json!({ "scheme": "HTTP" }));
        }
        if let Some(call) = probe.get_mut("grpc") {
            drop_defaults(call, &json!({ "service": "" }));
        }
    }
}

fn drop(value: &mut Value, keys: &[&str]) {
    if let Some(map) = value.as_object_mut() {
        map.retain(|key, _| !keys.contains(&key.as_str()));
    }
}

/// Removes fields that hold the value which the server would set by itself.
fn drop_defaults(value: &mut Value, defaults: &Value) {
    if let (Some(map), Some(defaults)) = (value.as_object_mut(), defaults.as_object()) {
        map.retain(|key, value| defaults.get(key) != Some(value));
    }
}

fn drop_empty(value: &mut Value, keys: &[&str]) {
    let empty = |value: &Value| match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    };
    if let Some(map) = value.as_object_mut() {
        map.retain(|key, value| !keys.contains(&key.as_str()) || !empty(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::import::samples;

    #[test]
    fn template_keeps_only_declared_fields_of_a_deployment() {
        let expected = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": "web", "labels": { "app": "web" }, "annotations": { "example.org/owner": "shop" } },
            "spec": {
                "replicas": 3,
                "selector": { "matchLabels": { "app": "web" } },
                "template": {
                    "metadata": { "labels": { "app": "web" } },
                    "spec": {
                        "containers": [{
                            "env": [{ "name": "POD", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } }],
                            "image": "registry.example.org/web:1.4",
                            "name": "web",
                            "ports": [{ "containerPort": 8080, "name": "http" }],
                            "readinessProbe": { "httpGet": { "path": "/ready", "port": "http" } },
                            "resources": { "requests": { "cpu": "100m", "memory": "64Mi" } },
                            "volumeMounts": [{ "mountPath": "/etc/web", "name": "config" }],
                        }],
                        "volumes": [{ "configMap": { "name": "web" }, "name": "config" }],
                    },
                },
            },
        });
        assert_eq!(template_of(&samples::deployment()), expected);
    }

    #[test]
    fn addresses_and_tokens_belong_to_the_cluster() {
        let service = template_of(&samples::service());
        assert_eq!(
            service["spec"],
            json!({ "ports": [{ "name": "http", "port": 80, "targetPort": "http" }], "selector": { "app": "web" } })
        );
        let mut headless = samples::service();
        headless["spec"]["clusterIP"] = json!("None");
        headless["spec"]["clusterIPs"] = json!(["None"]);
        assert_eq!(template_of(&headless)["spec"]["clusterIP"], "None");
        let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "web", "uid": "u" },
            "secrets": [{ "name": "web-token-x7k2p" }, { "name": "pull" }] });
        assert_eq!(template_of(&account)["secrets"], json!([{ "name": "pull" }]));
    }

    #[test]
    fn a_value_that_differs_from_the_default_stays() {
        let mut live = samples::deployment();
        live["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = json!("Always");
        live["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = json!(5);
        let template = template_of(&live);
        assert_eq!(template["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"], "Always");
        assert_eq!(template["spec"]["template"]["spec"]["terminationGracePeriodSeconds"], 5);
    }

    #[test]
    fn a_jobs_own_selector_is_not_declared() {
        let job = json!({ "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": "once" }, "spec": {
            "selector": { "matchLabels": { "batch.kubernetes.io/controller-uid": "u" } }, "completions": 2,
            "template": { "metadata": { "creationTimestamp": null, "labels": { "job-name": "once", "app": "x" } },
                "spec": { "containers": [{ "name": "x", "image": "x" }], "restartPolicy": "Never" } } } });
        let template = template_of(&job);
        assert_eq!(
            template["spec"],
            json!({ "completions": 2, "template": { "metadata": { "labels": { "app": "x" } },
                "spec": { "containers": [{ "name": "x", "image": "x" }], "restartPolicy": "Never" } } })
        );
    }
}
