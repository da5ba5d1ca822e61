//! What our identity may do in a member, and its next token.

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

/// The verbs delivery needs.
const VERBS: [&str; 6] = ["get", "list", "watch", "create", "patch", "delete"];

/// What we may do with one kind, in all namespaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KindAccess {
    /// The kind.
    pub kind: ApiKind,
    /// The verbs we may use, out of get, list, watch, create, patch, delete.
    pub allowed: Vec<&'static str>,
}

impl KindAccess {
    /// Whether this verb is among the allowed.
    pub fn may(&self, verb: &str) -> bool {
        self.allowed.contains(&verb)
    }

    /// Whether objects of this kind can be delivered, observed and pruned.
    pub fn deliverable(&self) -> bool {
        self.allowed.len() == VERBS.len()
    }

    /// The verbs that are missing for delivery.
    pub fn missing(&self) -> Vec<&'static str> {
        VERBS.into_iter().filter(|verb| !self.may(verb)).collect()
    }
}

/// A token from `TokenRequest`.
#[derive(Debug, Clone)]
pub struct IssuedToken {
    /// The bearer token.
    pub token: SecretString,
    /// When it ends; the server may have granted less than was asked for.
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
    /// What we may do with these kinds. One request where the member's authorizer can list its rules (RBAC can);
    /// otherwise one per kind and verb.
    pub async fn permissions(&self, kinds: &[ApiKind]) -> Result<Vec<KindAccess>, MemberError> {
        // Our own namespace holds no Role of ours without resourceNames, so what counts there counts everywhere.
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

    /// Asks for a new token of our own service account. Ask for 7 days and take what is granted; the token in use
    /// is not replaced here.
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
