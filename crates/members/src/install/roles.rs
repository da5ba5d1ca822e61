//! Meridian's identity in a member, and the complete list of its rights.
//!
//! Join grants no right that is not printed from this list.

use serde_json::{Value, json};
use vocabulary::{MEMBER_SERVICE_ACCOUNT, SYSTEM_NAMESPACE, labels};

use super::{INSTALLATION, OWN_LABELS, Profile};
use crate::api_kind::ApiKind;

pub(super) const DELIVER: [&str; 6] = ["get", "list", "watch", "create", "patch", "delete"];
const LOOK: [&str; 3] = ["get", "list", "watch"];

/// API group, version and the (kind, plural) pairs of the group.
type Group = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

/// Kinds that the profile `deploy` may deliver.
const KINDS: [Group; 6] = [
    (
        "",
        "v1",
        &[
            ("ConfigMap", "configmaps"),
            ("Secret", "secrets"),
            ("Service", "services"),
            ("ServiceAccount", "serviceaccounts"),
            ("PersistentVolumeClaim", "persistentvolumeclaims"),
        ],
    ),
    (
        "apps",
        "v1",
        &[
            ("Deployment", "deployments"),
            ("ReplicaSet", "replicasets"),
            ("StatefulSet", "statefulsets"),
            ("DaemonSet", "daemonsets"),
        ],
    ),
    ("batch", "v1", &[("Job", "jobs"), ("CronJob", "cronjobs")]),
    ("networking.k8s.io", "v1", &[("Ingress", "ingresses"), ("NetworkPolicy", "networkpolicies")]),
    ("policy", "v1", &[("PodDisruptionBudget", "poddisruptionbudgets")]),
    ("autoscaling", "v2", &[("HorizontalPodAutoscaler", "horizontalpodautoscalers")]),
];

/// Returns the kinds that the profile `deploy` grants in every member.
///
/// Kinds that a member adds by aggregation are not included.
pub fn deliverable_kinds() -> Vec<ApiKind> {
    let of = |(group, version, kinds): &Group| {
        let (group, version) = ((*group).to_owned(), (*version).to_owned());
        kinds.iter().map(move |(kind, plural)| ApiKind::namespaced(&group, &version, kind, plural)).collect::<Vec<_>>()
    };
    KINDS.iter().flat_map(of).collect()
}

pub(super) fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> Value {
    json!({"apiGroups": [group], "resources": resources, "verbs": verbs})
}

fn cluster_role(name: &str, extra: Option<(&str, &str)>, rules: Option<Vec<Value>>) -> Value {
    let mut role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name, "labels": OWN_LABELS.clone()},
    });
    if let Some((key, value)) = extra {
        role["metadata"]["labels"][key] = value.into();
    }
    match rules {
        Some(rules) => role["rules"] = rules.into(),
        // The member's controller fills in the rules. Sending our own rules would take over the field and empty it.
        None => {
            role["aggregationRule"] =
                json!({"clusterRoleSelectors": [{"matchLabels": {labels::AGGREGATE_TO_DEPLOY: "true"}}]});
        }
    }
    role
}

fn binding(name: &str) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name, "labels": OWN_LABELS.clone()},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [subject()],
    })
}

fn subject() -> Value {
    json!({"kind": "ServiceAccount", "name": MEMBER_SERVICE_ACCOUNT, "namespace": SYSTEM_NAMESPACE})
}

/// Returns namespace and service account, which all other objects refer to.
pub(super) fn identity() -> Vec<Value> {
    let mut namespace = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": SYSTEM_NAMESPACE, "labels": OWN_LABELS.clone()},
    });
    for mode in ["enforce", "audit", "warn"] {
        namespace["metadata"]["labels"][format!("pod-security.kubernetes.io/{mode}")] = "restricted".into();
    }
    let account = json!({
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": MEMBER_SERVICE_ACCOUNT, "namespace": SYSTEM_NAMESPACE, "labels": OWN_LABELS.clone()},
        "automountServiceAccountToken": false,
    });
    vec![namespace, account]
}

/// Returns role and binding for renewing the own token and reading the installation record.
pub(super) fn own_role() -> Vec<Value> {
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": {"name": "meridian", "namespace": SYSTEM_NAMESPACE, "labels": OWN_LABELS.clone()},
        "rules": [
            {"apiGroups": [""], "resources": ["serviceaccounts/token"], "resourceNames": [MEMBER_SERVICE_ACCOUNT], "verbs": ["create"]},
            {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [INSTALLATION], "verbs": ["get"]},
        ],
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "meridian", "namespace": SYSTEM_NAMESPACE, "labels": OWN_LABELS.clone()},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "meridian"},
        "subjects": [subject()],
    });
    vec![role, binding]
}

/// Returns roles and bindings of one profile.
pub(super) fn profile(profile: Profile) -> Vec<Value> {
    match profile {
        Profile::Observe => vec![
            cluster_role("meridian:observe", None, Some(vec![rule("", &["nodes", "pods", "namespaces"], &LOOK)])),
            binding("meridian:observe"),
        ],
        Profile::Deploy => {
            let mut rules: Vec<Value> = KINDS
                .iter()
                .map(|(group, _, kinds)| {
                    let plurals: Vec<&str> = kinds.iter().map(|(_, plural)| *plural).collect();
                    rule(group, &plurals, &DELIVER)
                })
                .collect();
            rules.push(rule("", &["namespaces"], &["create"]));
            vec![
                cluster_role("meridian:deploy-kinds", Some((labels::AGGREGATE_TO_DEPLOY, "true")), Some(rules)),
                cluster_role("meridian:deploy", None, None),
                binding("meridian:deploy"),
            ]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_sweeping_is_ever_granted() {
        let mut all = own_role();
        all.extend([Profile::Observe, Profile::Deploy].into_iter().flat_map(profile));
        let text = serde_json::to_string(&all).unwrap();
        for forbidden in
            ["\"*\"", "escalate", "\"bind\"", "impersonate", "cluster-admin", "admissionregistration", "clusterroles"]
        {
            assert!(!text.contains(forbidden), "{forbidden}");
        }
    }

    #[test]
    fn every_deliverable_kind_is_granted_by_the_role() {
        let granted = profile(Profile::Deploy);
        let rules = granted[0]["rules"].as_array().unwrap();
        for kind in deliverable_kinds() {
            assert!(
                rules.iter().any(|rule| rule["apiGroups"][0] == *kind.group
                    && rule["resources"].as_array().unwrap().contains(&kind.plural.clone().into())
                    && rule["verbs"].as_array().unwrap().len() == 6),
                "{kind:?}"
            );
        }
    }
}
