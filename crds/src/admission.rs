//! Admission policy of the hub for new objects, for Kubernetes 1.36 and later.

use serde_json::{Value, json};
use vocabulary::labels::FINALIZER;

const NAME: &str = "finalizers.fleet.meridian.io";

/// Returns the policy and binding that add Meridian's finalizer to objects when they are created.
///
/// Without the policy, the operator adds the finalizer with one more write per object. The policy is not installed by
/// default, because it has a price; see docs/decisions/0004.
///
/// The policy is a `MutatingAdmissionPolicy`, which is stable in Kubernetes 1.36 (KEP-3962).
pub fn finalizers() -> Value {
    let place = |path: &str, value: String| {
        format!("[JSONPatch{{op: 'add', path: '/metadata/finalizers{path}', value: {value}}}]")
    };
    let (first, further) = (place("", format!("['{FINALIZER}']")), place("/-", format!("'{FINALIZER}'")));
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingAdmissionPolicy",
            "metadata": {"name": NAME},
            "spec": {
                "failurePolicy": "Ignore",
                "reinvocationPolicy": "Never",
                "matchConstraints": {"resourceRules": [{
                    "apiGroups": ["fleet.meridian.io"], "apiVersions": ["*"], "operations": ["CREATE"],
                    "resources": ["applications", "cells", "clusters"],
                }]},
                "matchConditions": [{
                    "name": "has-none",
                    "expression": format!("!object.metadata.?finalizers.orValue([]).exists(one, one == '{FINALIZER}')"),
                }],
                "mutations": [{
                    "patchType": "JSONPatch",
                    "jsonPatch": {"expression": format!("has(object.metadata.finalizers) ? {further} : {first}")},
                }],
            },
        },
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingAdmissionPolicyBinding",
            "metadata": {"name": NAME},
            "spec": {"policyName": NAME},
        },
    ]})
}
