//! Properties of kinds: scopes, order of delivery, place of the pod template, and refused kinds.

use crds::application::v1alpha1::Scope;
use serde_json::Value;
use vocabulary::ObjectKey;

use super::{ComponentPlan, ReplicaOwner};

/// Returns the API group. Empty for the core group.
pub(super) fn group(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

/// Returns `group/version/Kind`, or `version/Kind` for the core group.
pub(super) fn full_kind(api_version: &str, kind: &str) -> String {
    format!("{api_version}/{kind}")
}

/// The scopes that a kind may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scopes {
    /// Runs interchangeable pods in any number: any scope, Divided by default.
    Scalable,
    /// Has ordinals of its own in each cell: only `PerCell`.
    OnlyPerCell,
    /// Runs to completion: Once or `PerCluster`, without a default.
    RunsOnce,
    /// Cannot be divided: any other scope, `PerCluster` by default.
    NotDivided,
    /// Not listed here: any scope, `PerCluster` by default.
    ///
    /// There is no default where the template has `spec.replicas`.
    Unlisted,
}

pub(super) fn scopes(api_version: &str, kind: &str) -> Scopes {
    match (group(api_version), kind) {
        ("apps", "Deployment" | "ReplicaSet") | ("", "ReplicationController") => Scopes::Scalable,
        ("apps", "StatefulSet") => Scopes::OnlyPerCell,
        ("batch", "Job" | "CronJob") => Scopes::RunsOnce,
        ("apps", "DaemonSet" | "ControllerRevision")
        | (
            "",
            "ConfigMap"
            | "Secret"
            | "Service"
            | "ServiceAccount"
            | "PersistentVolumeClaim"
            | "LimitRange"
            | "ResourceQuota"
            | "Endpoints"
            | "PodTemplate",
        )
        | ("networking.k8s.io", "Ingress" | "NetworkPolicy")
        | ("policy", "PodDisruptionBudget")
        | ("discovery.k8s.io", "EndpointSlice")
        | ("autoscaling", "HorizontalPodAutoscaler")
        | ("coordination.k8s.io", "Lease") => Scopes::NotDivided,
        _ => Scopes::Unlisted,
    }
}

/// Whether a component runs as many pods as its replicas state.
///
/// While an edit replaces such a component by another one, its pods go when the pods of the other one are available.
pub fn is_replicated(component: &ComponentPlan) -> bool {
    match scopes(&component.api_version, &component.kind) {
        Scopes::Scalable | Scopes::OnlyPerCell => true,
        Scopes::Unlisted => component.scope == Scope::Divided || component.replicas.is_some() || component.workload,
        Scopes::RunsOnce | Scopes::NotDivided => false,
    }
}

/// Returns the owner of a component's number of replicas, or `None` for a component without replicas.
///
/// Pods of a `DaemonSet` or a `Job` are not replicas: the nodes, or the end of the work, decide their number. For a
/// kind that is not listed, only a stated `spec.replicas` shows that it has replicas.
pub fn replica_owner(component: &ComponentPlan) -> Option<ReplicaOwner> {
    let stated = component.replicas.map(|replicas| ReplicaOwner::Template { replicas });
    match scopes(&component.api_version, &component.kind) {
        _ if component.scope == Scope::Divided => Some(ReplicaOwner::Placement),
        Scopes::Scalable | Scopes::OnlyPerCell => stated.or(Some(ReplicaOwner::Member)),
        Scopes::Unlisted => stated,
        Scopes::RunsOnce | Scopes::NotDivided => None,
    }
}

/// Whether objects of the kind always have replicas.
pub fn is_scalable(object: &ObjectKey) -> bool {
    has_replicas(&object.api_version, &object.kind)
}

/// Whether the kind itself has `spec.replicas`.
pub(super) fn has_replicas(api_version: &str, kind: &str) -> bool {
    matches!(scopes(api_version, kind), Scopes::Scalable | Scopes::OnlyPerCell)
}

/// Returns the order of delivery: lower ranks are applied first and removed last.
pub(super) fn rank(api_version: &str, kind: &str, workload: bool) -> i16 {
    match (group(api_version), kind) {
        ("", "ServiceAccount") => 0,
        ("", "Secret") => 1,
        ("", "ConfigMap") => 2,
        ("", "PersistentVolumeClaim") => 3,
        ("", "ResourceQuota" | "LimitRange") => 4,
        ("networking.k8s.io", "NetworkPolicy") => 5,
        ("", "Service") => 6,
        ("networking.k8s.io", "Ingress")
        | ("autoscaling", "HorizontalPodAutoscaler")
        | ("policy", "PodDisruptionBudget") => 60,
        _ if workload => 50,
        _ => 9,
    }
}

/// Returns the path of the pod template (metadata and spec), as keys.
///
/// `None` when the kind runs no pods.
pub(super) fn pod_template_path(api_version: &str, kind: &str, object: &Value) -> Option<&'static [&'static str]> {
    match (group(api_version), kind) {
        ("batch", "CronJob") => Some(&["spec", "jobTemplate", "spec", "template"]),
        ("batch", "Job") | ("apps", "DaemonSet") => Some(&["spec", "template"]),
        _ => match scopes(api_version, kind) {
            Scopes::Scalable | Scopes::OnlyPerCell => Some(&["spec", "template"]),
            Scopes::Unlisted if object.pointer("/spec/template/spec/containers").is_some_and(Value::is_array) => {
                Some(&["spec", "template"])
            }
            _ => None,
        },
    }
}

/// Returns the value under a path of keys.
pub(super) fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, key| value.get(key))
}

/// Returns the value under a path of keys, for changing it.
pub(super) fn at_mut<'a>(value: &'a mut Value, path: &[&str]) -> Option<&'a mut Value> {
    path.iter().try_fold(value, |value, key| value.get_mut(key))
}

/// Returns the maximum length of a name that works with the kind's own controller.
pub(super) fn name_limit(api_version: &str, kind: &str) -> usize {
    match (group(api_version), kind) {
        // Their controllers append up to eleven characters and use the result as a label value.
        ("apps", "StatefulSet") | ("batch", "CronJob") => 52,
        ("", "Service" | "ReplicationController")
        | ("batch", "Job")
        | ("apps", "Deployment" | "ReplicaSet" | "DaemonSet") => 63,
        _ => 253,
    }
}

/// Returns why a kind is never delivered, with the remedy.
pub(super) fn refusal(api_version: &str, kind: &str, object: &Value) -> Option<String> {
    let group = group(api_version);
    if group == "meridian.io" || group.ends_with(".meridian.io") {
        return Some(format!("{kind} belongs to Meridian itself and is not delivered to members; apply it on the hub"));
    }
    if kind == "List" || (kind.ends_with("List") && object.get("items").is_some()) {
        return Some(format!("{kind} is a list; make each item a component of its own"));
    }
    match (group, kind) {
        ("", "Pod") => {
            return Some(
                "a bare Pod is not replaced when its node is lost; use a Deployment with one replica, or a Job"
                    .to_owned(),
            );
        }
        ("", "Binding") | ("authentication.k8s.io" | "authorization.k8s.io", _) => {
            return Some(format!("{kind} is a request, not an object that stays; remove the component"));
        }
        ("rbac.authorization.k8s.io", _) => {
            return Some(format!(
                "{kind} grants rights and is not delivered by an Application; have the cluster's administrators apply it"
            ));
        }
        ("admissionregistration.k8s.io", _) => {
            return Some(format!(
                "{kind} changes what a whole cluster admits and is not delivered by an Application; have the cluster's administrators apply it"
            ));
        }
        _ => {}
    }
    let cluster_scoped = match group {
        "" => matches!(kind, "Namespace" | "Node" | "PersistentVolume" | "ComponentStatus"),
        "apiextensions.k8s.io"
        | "apiregistration.k8s.io"
        | "storage.k8s.io"
        | "node.k8s.io"
        | "scheduling.k8s.io"
        | "flowcontrol.apiserver.k8s.io"
        | "internal.apiserver.k8s.io"
        | "certificates.k8s.io"
        | "storagemigration.k8s.io" => true,
        "networking.k8s.io" => matches!(kind, "IngressClass" | "IPAddress" | "ServiceCIDR"),
        "resource.k8s.io" => matches!(kind, "DeviceClass" | "ResourceSlice" | "DeviceTaintRule"),
        "policy" => kind == "PodSecurityPolicy",
        "gateway.networking.k8s.io" => kind == "GatewayClass",
        "snapshot.storage.k8s.io" => matches!(kind, "VolumeSnapshotClass" | "VolumeSnapshotContent"),
        "cert-manager.io" => kind == "ClusterIssuer",
        _ => false,
    };
    cluster_scoped.then(|| {
        format!(
            "{kind} belongs to the whole cluster and not to a namespace; have the cluster's administrators apply it"
        )
    })
}

/// Returns the remedy when the kind may not have the scope.
pub(super) fn scope_problem(api_version: &str, kind: &str, scope: Scope) -> Option<String> {
    match (scopes(api_version, kind), scope) {
        (Scopes::OnlyPerCell, Scope::Divided | Scope::PerCluster | Scope::Once) => Some(format!(
            "a {kind} has its own ordinals in each cell and cannot be {scope:?}; set scope: PerCell or remove it"
        )),
        (Scopes::RunsOnce, Scope::Divided | Scope::PerCell) => {
            Some(format!("a {kind} runs to an end and cannot be {scope:?}; set scope: Once or scope: PerCluster"))
        }
        (Scopes::NotDivided, Scope::Divided) => {
            Some(format!("a {kind} has no replicas that could be divided; set scope: PerCluster, or PerCell"))
        }
        _ => None,
    }
}

/// Whether objects of the kind are released and never deleted.
///
/// Such an object holds more data than it shows.
pub fn is_never_deleted(key: &ObjectKey) -> bool {
    matches!(
        (key.group(), key.kind.as_str()),
        ("", "Namespace" | "PersistentVolumeClaim" | "PersistentVolume")
            | ("apiextensions.k8s.io", "CustomResourceDefinition")
    )
}

/// Whether the maps of the kind are user data and contain no references.
pub(super) fn holds_data(plan: &ComponentPlan) -> bool {
    group(&plan.api_version).is_empty() && matches!(plan.kind.as_str(), "ConfigMap" | "Secret")
}
