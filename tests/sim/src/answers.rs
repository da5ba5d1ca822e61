//! Responses that are equal for every member.

use serde_json::{Value, json};

/// A served kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) group: &'static str,
    pub(crate) plural: &'static str,
    pub(crate) name: &'static str,
    pub(crate) namespaced: bool,
}

const fn kind(group: &'static str, plural: &'static str, name: &'static str, namespaced: bool) -> Kind {
    Kind { group, plural, name, namespaced }
}

/// All served kinds, each in version v1.
pub(crate) const KINDS: [Kind; 10] = [
    kind("", "nodes", "Node", false),
    kind("", "namespaces", "Namespace", false),
    kind("", "pods", "Pod", true),
    kind("", "configmaps", "ConfigMap", true),
    kind("", "secrets", "Secret", true),
    kind("", "services", "Service", true),
    kind("", "serviceaccounts", "ServiceAccount", true),
    kind("apps", "deployments", "Deployment", true),
    kind("apps", "statefulsets", "StatefulSet", true),
    kind("batch", "jobs", "Job", true),
];

impl Kind {
    pub(crate) fn api_version(self) -> String {
        if self.group.is_empty() { "v1".to_owned() } else { format!("{}/v1", self.group) }
    }
}

/// Returns aggregated discovery of the core group, or of all other groups.
pub(crate) fn discovery(core: bool) -> Value {
    let mut groups: Vec<&str> = KINDS.iter().map(|kind| kind.group).filter(|group| group.is_empty() == core).collect();
    groups.dedup();
    let resources = |group: &str| -> Vec<Value> {
        KINDS
            .iter()
            .filter(|kind| kind.group == group)
            .map(|kind| {
                json!({
                    "resource": kind.plural, "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
                    "responseKind": {"group": kind.group, "version": "v1", "kind": kind.name},
                    "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"],
                })
            })
            .collect()
    };
    let items: Vec<Value> = groups
        .into_iter()
        .map(|group| json!({"metadata": {"name": group}, "versions": [{"version": "v1", "resources": resources(group)}]}))
        .collect();
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items})
}

pub(crate) fn version() -> Value {
    json!({"major": "1", "minor": "36", "gitVersion": "v1.36.1-simulated"})
}

/// Returns a rules review that allows everything.
pub(crate) fn rules() -> Value {
    json!({
        "kind": "SelfSubjectRulesReview", "apiVersion": "authorization.k8s.io/v1",
        "status": {"incomplete": false, "nonResourceRules": [],
                   "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]},
    })
}

pub(crate) fn token(seconds: i64) -> Value {
    let ends = jiff::Timestamp::now().saturating_add(jiff::SignedDuration::from_secs(seconds));
    let ends = ends.unwrap_or(jiff::Timestamp::MAX);
    json!({"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1",
           "status": {"token": "simulated", "expirationTimestamp": ends.to_string()}})
}

pub(crate) fn failure(code: u16, reason: &str, message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message})
}
