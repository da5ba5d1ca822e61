//! The fence policy that a member enforces on all writes of managed objects.
//!
//! The rules apply to objects with the label `fleet.meridian.io/managed`:
//! - Only Meridian's runtime identity writes the fence or the delete-fence. Every other edit passes.
//! - Our writes carry a well-formed fence and never lower it.
//! - Our stamps are never below the object's fence, so a stale process cannot stamp.
//! - We delete or release only objects whose stamp is at least as high as their fence. A stamp left by a process that
//!   died becomes void with the next apply with a newer fence.
//!
//! Controllers of Kubernetes create `Endpoints`, `EndpointSlice` and the like with labels copied from ours. These
//! objects carry no fence and pass.

use serde_json::{Value, json};
use vocabulary::{MEMBER_IDENTITY, labels};

use super::Profile;
use super::confine::exception;

/// Name of the policy, which appears in its refusals.
pub const POLICY_NAME: &str = "fence.fleet.meridian.io";

fn annotation(object: &str, key: &str) -> String {
    format!("{object} == null ? '' : {object}.metadata.?annotations['{key}'].orValue('')")
}

/// Returns the policy.
pub(super) fn policy(profiles: &[Profile]) -> Value {
    let fence = labels::FENCE;
    let stamp = labels::DELETE_FENCE;
    let released = format!(
        "object != null && oldObject != null && !('{}' in object.metadata.?labels.orValue({{}}))",
        labels::MANAGED
    );
    let variable = |name: &str, expression: String| json!({"name": name, "expression": expression});
    let rule = |expression: &str, message: &str| json!({"expression": expression, "messageExpression": message, "reason": "Forbidden"});
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": POLICY_NAME, "labels": super::OWN_LABELS.clone()},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "matchPolicy": "Equivalent",
                "objectSelector": {"matchExpressions": [{"key": labels::MANAGED, "operator": "Exists"}]},
                // Status writes can change annotations too, so subresources are included.
                "resourceRules": [{
                    "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"],
                    "operations": ["CREATE", "UPDATE", "DELETE"], "scope": "*",
                }],
            },
            "variables": [
                // The exceptions of `confine.rs` need no fence.
                variable("ours", format!("request.userInfo.username == '{MEMBER_IDENTITY}' && !({})", exception(profiles))),
                variable("deleting", "request.operation == 'DELETE'".into()),
                variable("was", annotation("oldObject", fence)),
                variable("now", annotation("object", fence)),
                variable("stampWas", annotation("oldObject", stamp)),
                variable("stampNow", annotation("object", stamp)),
                variable("released", released),
                variable("stamped", "variables.stampWas != '' && variables.stampWas >= variables.was".into()),
            ],
            "validations": [
                rule(
                    "variables.ours || variables.deleting || (variables.now == variables.was && variables.stampNow == variables.stampWas)",
                    &format!("'only Meridian changes the annotations {fence} and {stamp}; edit anything else freely'"),
                ),
                rule(
                    "!variables.ours || variables.deleting || variables.released || variables.now.matches('^[0-9]{10}[.][0-9]{10}[.][0-9]{10}$')",
                    "'a write of Meridian must carry a fence, not \"' + variables.now + '\"'",
                ),
                rule(
                    "!variables.ours || variables.deleting || variables.released || variables.now >= variables.was",
                    "'stale write: its fence ' + variables.now + ' is below ' + variables.was",
                ),
                rule(
                    "!variables.ours || variables.deleting || variables.released || variables.stampNow == variables.stampWas || (variables.stampNow >= variables.now && variables.stampNow.matches('^[0-9]{10}[.][0-9]{10}[.][0-9]{10}$'))",
                    "'stale stamp: the delete-fence ' + variables.stampNow + ' is below the fence ' + variables.now",
                ),
                rule(
                    "!variables.ours || !(variables.deleting || variables.released) || variables.stamped",
                    "'not stamped for deletion: the delete-fence \"' + variables.stampWas + '\" does not reach the fence ' + variables.was",
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
        "metadata": {"name": POLICY_NAME, "labels": super::OWN_LABELS.clone()},
        "spec": {"policyName": POLICY_NAME, "validationActions": ["Deny"]},
    })
}
