//! Rights of Meridian's identity in a member, and the request for its next token.

use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use http::Method;
use jiff::Timestamp;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};
use vocabulary::{MEMBER_SERVICE_ACCOUNT, SYSTEM_NAMESPACE};

use crate::api_kind::ApiKind;
use crate::error::MemberError;
use crate::member::Member;

const JSON: &str = "application/json";

/// Verbs that delivery needs.
const VERBS: [&str; 6] = ["get", "list", "watch", "create", "patch", "delete"];

/// Rights of Meridian's identity on one kind, in all namespaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KindAccess {
    /// Kind that the rights apply to.
    pub kind: ApiKind,
    /// Granted verbs, out of get, list, watch, create, patch and delete.
    pub allowed: Vec<&'static str>,
}

impl KindAccess {
    /// Returns whether this verb is granted.
    pub fn may(&self, verb: &str) -> bool {
        self.allowed.contains(&verb)
    }

    /// Returns whether objects of this kind can be delivered, observed and pruned.
    pub fn deliverable(&self) -> bool {
        self.allowed.len() == VERBS.len()
    }

    /// Returns the verbs that delivery needs and that are not granted.
    pub fn missing(&self) -> Vec<&'static str> {
        VERBS.into_iter().filter(|verb| !self.may(verb)).collect()
    }
}

/// Token from a `TokenRequest`.
#[derive(Debug, Clone)]
pub struct IssuedToken {
    /// Bearer token of the service account.
    pub token: SecretString,
    /// Expiry of the token; the server may have granted less time than requested.
    pub expires_at: Timestamp,
}

#[derive(Deserialize)]
struct RulesReview {
    status: RulesStatus,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RulesStatus {
    #[serde(default)]
    incomplete: bool,
    #[serde(default)]
    resource_rules: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    #[serde(default)]
    verbs: Vec<String>,
    #[serde(default)]
    api_groups: Vec<String>,
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    resource_names: Vec<String>,
}

impl Rule {
    fn grants(&self, verb: &str, kind: &ApiKind) -> bool {
        let has = |list: &[String], word: &str| list.iter().any(|entry| entry == "*" || entry == word);
        self.resource_names.is_empty()
            && has(&self.verbs, verb)
            && has(&self.api_groups, &kind.group)
            && has(&self.resources, &kind.plural)
    }
}

impl Member {
    /// Returns the rights of Meridian's identity on these kinds.
    ///
    /// Sends one request where the member's authorizer can list its rules, as RBAC can. Otherwise it sends one request
    /// for each kind and verb.
    pub async fn permissions(&self, kinds: &[ApiKind]) -> Result<Vec<KindAccess>, MemberError> {
        // In Meridian's namespace all rules of its own Role have `resourceNames`. So a rule without them that counts
        // there counts everywhere.
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectRulesReview",
            "spec": {"namespace": SYSTEM_NAMESPACE},
        });
        let path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews".to_owned();
        let answer = self.send(Method::POST, path, JSON, &review).await?;
        let rules = serde_json::from_value::<RulesReview>(answer)
            .map_err(|error| MemberError::protocol(self.name(), error))?
            .status;
        if rules.incomplete {
            return self.permissions_one_by_one(kinds).await;
        }
        let allowed = |kind: &ApiKind| {
            let granted = |verb: &&str| rules.resource_rules.iter().any(|rule| rule.grants(verb, kind));
            VERBS.into_iter().filter(granted).collect()
        };
        Ok(kinds.iter().map(|kind| KindAccess { allowed: allowed(kind), kind: kind.clone() }).collect())
    }

    async fn permissions_one_by_one(&self, kinds: &[ApiKind]) -> Result<Vec<KindAccess>, MemberError> {
        let questions: Vec<BoxFuture<'_, _>> = kinds.iter().map(|kind| self.access(kind).boxed()).collect();
        stream::iter(questions).buffered(8).try_collect().await
    }

    async fn access(&self, kind: &ApiKind) -> Result<KindAccess, MemberError> {
        let mut allowed = Vec::new();
        for verb in VERBS {
            if self.allowed(kind, verb).await? {
                allowed.push(verb);
            }
        }
        Ok(KindAccess { kind: kind.clone(), allowed })
    }

    async fn allowed(&self, kind: &ApiKind, verb: &str) -> Result<bool, MemberError> {
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {"group": kind.group, "resource": kind.plural, "verb": verb}},
        });
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews".to_owned();
        let answer = self.send(Method::POST, path, JSON, &review).await?;
        Ok(answer["status"]["allowed"] == Value::Bool(true))
    }

    /// Requests a new token of Meridian's own service account.
    ///
    /// Callers request 7 days and use the lifetime that is granted. The token in use is not replaced here.
    pub async fn request_token(&self, ttl: Duration) -> Result<IssuedToken, MemberError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Granted {
            token: String,
            expiration_timestamp: Timestamp,
        }
        let request = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": ttl.as_secs()},
        });
        let path = format!("/api/v1/namespaces/{SYSTEM_NAMESPACE}/serviceaccounts/{MEMBER_SERVICE_ACCOUNT}/token");
        let mut answer = self.send(Method::POST, path, JSON, &request).await?;
        let granted: Granted = serde_json::from_value(answer["status"].take())
            .map_err(|error| MemberError::protocol(self.name(), error))?;
        Ok(IssuedToken { token: granted.token.into(), expires_at: granted.expiration_timestamp })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_for_named_objects_or_another_group_grants_nothing() {
        let kind = ApiKind::namespaced("apps", "v1", "Deployment", "deployments");
        for (rule, grants) in [
            (r#"{"verbs":["get"],"apiGroups":["apps"],"resources":["deployments"]}"#, true),
            (r#"{"verbs":["*"],"apiGroups":["*"],"resources":["*"]}"#, true),
            (r#"{"verbs":["get"],"apiGroups":[""],"resources":["deployments"]}"#, false),
            (r#"{"verbs":["list"],"apiGroups":["apps"],"resources":["deployments"]}"#, false),
            (r#"{"verbs":["get"],"apiGroups":["apps"],"resources":["deployments"],"resourceNames":["x"]}"#, false),
            (r#"{"verbs":["get"],"apiGroups":["apps"],"resources":["deployments/scale"]}"#, false),
        ] {
            let rule: Rule = serde_json::from_str(rule).unwrap();
            assert_eq!(rule.grants("get", &kind), grants);
        }
    }
}
