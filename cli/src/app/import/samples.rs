//! Sample objects as an API server returns them, with all fields that it and the controllers add.

use serde_json::{Value, json};

fn metadata(name: &str, annotations: Value) -> Value {
    json!({
        "name": name, "namespace": "shop", "uid": "3f0c2d5e-8d2f-4a53-9f43-0c1de2b1a001", "resourceVersion": "4711",
        "generation": 3, "creationTimestamp": "2026-11-02T03:04:05Z", "labels": { "app": "web" },
        "annotations": annotations,
        "managedFields": [{ "manager": "kubectl-client-side-apply", "operation": "Update", "apiVersion": "v1",
            "time": "2026-11-02T03:04:05Z", "fieldsType": "FieldsV1", "fieldsV1": { "f:metadata": {} } }],
    })
}

pub(super) fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": metadata("web", json!({
            "deployment.kubernetes.io/revision": "3", "example.org/owner": "shop",
            "kubectl.kubernetes.io/last-applied-configuration": "{}" })),
        "spec": {
            "progressDeadlineSeconds": 600, "replicas": 3, "revisionHistoryLimit": 10,
            "selector": { "matchLabels": { "app": "web" } },
            "strategy": { "rollingUpdate": { "maxSurge": "25%", "maxUnavailable": "25%" }, "type": "RollingUpdate" },
            "template": {
                "metadata": { "creationTimestamp": null, "labels": { "app": "web" },
                    "annotations": { "kubectl.kubernetes.io/restartedAt": "2026-11-01T00:00:00Z" } },
                "spec": {
                    "containers": [{
                        "env": [{ "name": "POD", "valueFrom": { "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.name" } } }],
                        "image": "registry.example.org/web:1.4", "imagePullPolicy": "IfNotPresent", "name": "web",
                        "ports": [{ "containerPort": 8080, "name": "http", "protocol": "TCP" }],
                        "readinessProbe": { "failureThreshold": 3, "httpGet": { "path": "/ready", "port": "http", "scheme": "HTTP" },
                            "periodSeconds": 10, "successThreshold": 1, "timeoutSeconds": 1 },
                        "resources": { "requests": { "cpu": "100m", "memory": "64Mi" } },
                        "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                        "volumeMounts": [{ "mountPath": "/etc/web", "name": "config" }],
                    }],
                    "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "schedulerName": "default-scheduler",
                    "securityContext": {}, "terminationGracePeriodSeconds": 30,
                    "volumes": [{ "configMap": { "defaultMode": 420, "name": "web" }, "name": "config" }],
                },
            },
        },
        "status": { "availableReplicas": 3, "observedGeneration": 3, "readyReplicas": 3, "replicas": 3, "updatedReplicas": 3,
            "conditions": [{ "type": "Available", "status": "True" }] },
    })
}

pub(super) fn config() -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata("web", json!({})),
        "data": { "web.yaml": "listen: 8080\n" } })
}

pub(super) fn service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": metadata("web", json!({})),
        "spec": { "clusterIP": "10.96.12.7", "clusterIPs": ["10.96.12.7"], "internalTrafficPolicy": "Cluster",
            "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
            "ports": [{ "name": "http", "port": 80, "protocol": "TCP", "targetPort": "http" }],
            "selector": { "app": "web" }, "sessionAffinity": "None", "type": "ClusterIP" },
        "status": { "loadBalancer": {} },
    })
}
