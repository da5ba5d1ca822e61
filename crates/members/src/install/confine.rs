//! The policy that confines Meridian's own identity in a member, regardless of its roles.
//!
//! Roles grant kinds; they cannot select objects. This policy checks every write of the runtime identity:
//! - The identity writes nothing without a namespace, and nothing in `kube-*` or `meridian-*`. So the objects of join
//!   and of Kubernetes itself are protected.
//! - The identity writes only objects that are managed before or after the write. Missing namespaces may be created,
//!   but existing ones never changed.
//! - The identity may renew its own token and query its own rights.
//!
//! The policy contains two exceptions from the first version on. Each exception is open only where its profile was
//! joined: objects of `agent.meridian.io` (profiles dr, mesh, migrate), and placeholder pods of migrate in
//! `meridian-system`.
//!
//! A policy cannot restrict reads: `docs/trust.md` lists what the identity can read.

use serde_json::{Value, json};
use vocabulary::{MEMBER_IDENTITY, MEMBER_SERVICE_ACCOUNT, PROTECTED_NAMESPACE_PREFIXES, SYSTEM_NAMESPACE, labels};

use super::Profile;

/// Name of the policy, which appears in its refusals.
pub const CONFINE_POLICY_NAME: &str = "identity.fleet.meridian.io";

/// Returns the CEL expression that matches the two exceptions of the joined profiles.
pub(super) fn exception(profiles: &[Profile]) -> String {
    let joined: Vec<String> = profiles.iter().map(|profile| format!("'{profile}'")).collect();
    let joined = joined.join(", ");
    let placeholder = |object: &str| {
        format!("({object} != null && '{}' in {object}.metadata.?labels.orValue({{}}))", labels::PLACEHOLDER)
    };
    format!(
        "(request.resource.group == 'agent.meridian.io' && ['dr', 'mesh', 'migrate'].exists(profile, profile in [{joined}])) || \
         (request.resource.group == '' && request.resource.resource == 'pods' && request.?namespace.orValue('') == '{SYSTEM_NAMESPACE}' && \
         'migrate' in [{joined}] && (object == null || {}) && (oldObject == null || {}))",
        placeholder("object"),
        placeholder("oldObject")
    )
}

fn is_managed(object: &str) -> String {
    format!("{object} != null && '{}' in {object}.metadata.?labels.orValue({{}})", labels::MANAGED)
}

/// Returns the policy.
pub(super) fn policy(profiles: &[Profile]) -> Value {
    let denied: Vec<String> =
        PROTECTED_NAMESPACE_PREFIXES.iter().map(|prefix| format!("variables.target.startsWith('{prefix}')")).collect();
    let renewal = format!(
        "request.resource.group == '' && request.resource.resource == 'serviceaccounts' && request.?subResource.orValue('') == 'token' && request.?namespace.orValue('') == '{SYSTEM_NAMESPACE}' && request.name == '{MEMBER_SERVICE_ACCOUNT}'"
    );
    let variable = |name: &str, expression: String| json!({"name": name, "expression": expression});
    let rule = |expression: &str, message: &str| json!({"expression": expression, "messageExpression": message, "reason": "Forbidden"});
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": CONFINE_POLICY_NAME, "labels": super::OWN_LABELS.clone()},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "matchPolicy": "Equivalent",
                "resourceRules": [{
                    "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"],
                    "operations": ["CREATE", "UPDATE", "DELETE", "CONNECT"], "scope": "*",
                }],
            },
            "matchConditions": [
                {"name": "ours", "expression": format!("request.userInfo.username == '{MEMBER_IDENTITY}'")},
                // Queries of the identity's own rights write nothing.
                {"name": "writes", "expression": "!(request.resource.group in ['authorization.k8s.io', 'authentication.k8s.io'])"},
                {"name": "not-its-own-token", "expression": format!("!({renewal})")},
            ],
            "variables": [
                variable("exception", exception(profiles)),
                variable("makesNamespace", "request.resource.group == '' && request.resource.resource == 'namespaces' && request.operation == 'CREATE'".into()),
                variable("target", "variables.makesNamespace ? object.metadata.name : request.?namespace.orValue('')".into()),
                variable("denied", format!("variables.target == '' || {}", denied.join(" || "))),
                variable("managedNow", is_managed("object")),
                variable("managedWas", is_managed("oldObject")),
            ],
            "validations": [
                rule(
                    "variables.exception || !variables.denied",
                    "\"Meridian's identity writes nothing \" + (variables.target == '' ? 'without a namespace' : 'in namespace ' + variables.target)",
                ),
                rule(
                    "variables.exception || variables.makesNamespace || variables.managedNow || variables.managedWas",
                    &format!("\"Meridian's identity writes only objects with the label {}\"", labels::MANAGED),
                ),
            ],
        },
    })
}

/// Returns the binding that puts the policy in force everywhere.
pub(super) fn binding() -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": CONFINE_POLICY_NAME, "labels": super::OWN_LABELS.clone()},
        "spec": {"policyName": CONFINE_POLICY_NAME, "validationActions": ["Deny"]},
    })
}
