//! Rights that Meridian's identity needs and has in a member, and the role that grants missing rights.

use futures::{StreamExt, TryStreamExt, stream};
use http::{Method, Request};
use kube::Client;
use serde::Serialize;
use serde_json::{Value, json};
use vocabulary::{MEMBER_SERVICE_ACCOUNT, SYSTEM_NAMESPACE, labels};

use super::calls::{InstallError, send};
use super::roles::{self, DELIVER};
use super::{OWN_LABELS, Profile};
use crate::api_kind::ApiKind;

/// Maximum number of concurrent access reviews.
const AT_ONCE: usize = 16;

/// Verbs on one resource, in all namespaces.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Right {
    /// API group; empty for the core group.
    pub group: String,
    /// Resource, such as `deployments`.
    pub resource: String,
    /// Verbs on the resource.
    pub verbs: Vec<String>,
}

/// Returns the rights that a profile grants on every resource of its printed list.
pub fn needed(profile: Profile) -> Vec<Right> {
    let roles = roles::profile(profile);
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect()
    };
    let mut rights = Vec::new();
    for rule in roles.iter().filter_map(|role| role["rules"].as_array()).flatten() {
        for resource in texts(&rule["resources"]) {
            rights.push(Right {
                group: rule["apiGroups"][0].as_str().unwrap_or_default().to_owned(),
                resource,
                verbs: texts(&rule["verbs"]),
            });
        }
    }
    rights
}

/// Returns the right that delivering a kind needs.
pub fn to_deliver(kind: &ApiKind) -> Right {
    Right { group: kind.group.clone(), resource: kind.plural.clone(), verbs: DELIVER.map(String::from).to_vec() }
}

/// Returns the verbs that Meridian's identity lacks, for every right in `asked` and in the same order.
///
/// The member's own authorizers answer. The joining user needs the right to create access reviews.
pub async fn our_rights(client: &Client, asked: &[Right]) -> Result<Vec<Right>, InstallError> {
    let questions: Vec<(usize, &Right, &String)> =
        asked.iter().enumerate().flat_map(|(i, right)| right.verbs.iter().map(move |verb| (i, right, verb))).collect();
    let answers: Vec<(usize, &String, bool)> = stream::iter(questions)
        .map(|(i, right, verb)| async move { Ok((i, verb, allowed(client, right, verb).await?)) })
        .buffered(AT_ONCE)
        .try_collect::<Vec<_>>()
        .await?;
    let lacking = |i: usize| {
        answers
            .iter()
            .filter(move |(at, _, allowed)| *at == i && !allowed)
            .map(|(_, verb, _)| (*verb).clone())
            .collect()
    };
    Ok(asked.iter().enumerate().map(|(i, right)| Right { verbs: lacking(i), ..right.clone() }).collect())
}

async fn allowed(client: &Client, right: &Right, verb: &str) -> Result<bool, InstallError> {
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
        "spec": {
            "user": format!("system:serviceaccount:{SYSTEM_NAMESPACE}:{MEMBER_SERVICE_ACCOUNT}"),
            "groups": ["system:serviceaccounts", format!("system:serviceaccounts:{SYSTEM_NAMESPACE}"), "system:authenticated"],
            "resourceAttributes": {"group": right.group, "resource": right.resource, "verb": verb},
        },
    });
    let request = Request::builder()
        .method(Method::POST)
        .uri("/apis/authorization.k8s.io/v1/subjectaccessreviews")
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(serde_json::to_vec(&review).expect("a JSON value serialises"));
    let what = format!("ask whether Meridian may {verb} {}", right.resource);
    let answer = send(client, &what, request).await?;
    Ok(answer["status"]["allowed"] == Value::Bool(true))
}

/// Returns a role that adds rights to the profile `deploy`; administrators of a member apply it.
pub fn granting_role(name: &str, rights: &[Right]) -> Value {
    let mut labels = OWN_LABELS.clone();
    labels[labels::AGGREGATE_TO_DEPLOY] = "true".into();
    let rule = |right: &Right| {
        let verbs: Vec<&str> = right.verbs.iter().map(String::as_str).collect();
        roles::rule(&right.group, &[right.resource.as_str()], &verbs)
    };
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": name, "labels": labels},
        "rules": rights.iter().map(rule).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profile_needs_the_rights_that_its_roles_grant() {
        let deploy = needed(Profile::Deploy);
        for kind in roles::deliverable_kinds() {
            assert!(deploy.contains(&to_deliver(&kind)), "{kind:?}");
        }
        let observe = needed(Profile::Observe);
        assert!(observe.iter().any(|right| right.resource == "nodes" && right.verbs == ["get", "list", "watch"]));
    }

    #[test]
    fn the_granting_role_aggregates_to_deploy() {
        let kind = ApiKind::namespaced("example.org", "v1", "Widget", "widgets");
        let role = granting_role("meridian:widgets", &[to_deliver(&kind)]);
        assert_eq!(role["metadata"]["labels"]["fleet.meridian.io/aggregate-to-deploy"], "true");
        assert_eq!(role["rules"][0]["resources"][0], "widgets");
        assert_eq!(role["rules"][0]["verbs"].as_array().map(Vec::len), Some(DELIVER.len()));
    }
}
