//! Whether a member holds what was installed, and whether it enforces it.

use std::time::Duration;

use http::{Method, Request};
use jiff::Timestamp;
use kube::Client;
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::time::Instant;
use vocabulary::{MEMBER_SERVICE_ACCOUNT, SYSTEM_NAMESPACE, labels};

use super::apply::{InstallError, fetch, send, title};
use super::{Installation, POLICY_NAME};
use crate::access::IssuedToken;
use crate::member::ServerVersion;

/// Refusals in a row that count as "in force": behind one address there may be several API servers.
const REFUSALS: u32 = 3;

/// What is wrong with an installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Issue {
    /// An object is missing.
    Missing(String),
    /// An object is not as this version installs it.
    Differs(String),
    /// The fence policy does not refuse what it should.
    PolicyNotInForce,
}

impl std::fmt::Display for Issue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing(what) => write!(f, "{what} is missing"),
            Self::Differs(what) => write!(f, "{what} is not as this version installs it"),
            Self::PolicyNotInForce => write!(f, "the API server does not enforce {POLICY_NAME}"),
        }
    }
}

/// Compares the member with the installation; empty when all is well. Needs the joining person's rights.
pub async fn verify(client: &Client, installation: &Installation) -> Result<Vec<Issue>, InstallError> {
    let mut issues = Vec::new();
    for manifest in installation.manifests() {
        match fetch(client, &manifest).await? {
            None => issues.push(Issue::Missing(title(&manifest))),
            Some(found) if !contains(&found, &manifest) => {
                issues.push(Issue::Differs(title(&manifest)));
            }
            Some(_) => {}
        }
    }
    if issues.is_empty() && !refuses(client).await? {
        issues.push(Issue::PolicyNotInForce);
    }
    Ok(issues)
}

/// The member's version, with the joining person's credentials.
pub async fn server_version(client: &Client) -> Result<ServerVersion, InstallError> {
    let what = "read the cluster's version";
    let version = send(client, what, Request::get("/version").body(Vec::new())).await?;
    ServerVersion::parse(version.to_string().as_bytes())
        .map_err(|message| InstallError::Answer { what: what.into(), message })
}

/// UID of the member's kube-system namespace, with the joining person's credentials.
pub async fn kube_system_uid(client: &Client) -> Result<String, InstallError> {
    let what = "read the namespace kube-system";
    let path = "/api/v1/namespaces/kube-system";
    let namespace = send(client, what, Request::get(path).body(Vec::new())).await?;
    match namespace["metadata"]["uid"].as_str() {
        Some(uid) => Ok(uid.to_owned()),
        None => Err(InstallError::Answer { what: what.into(), message: "it has no uid".into() }),
    }
}

/// The first token of our service account, with the joining person's credentials.
pub async fn issue_token(client: &Client, ttl: Duration) -> Result<IssuedToken, InstallError> {
    let what = "request a token for Meridian's service account";
    let path = format!("/api/v1/namespaces/{SYSTEM_NAMESPACE}/serviceaccounts/{MEMBER_SERVICE_ACCOUNT}/token");
    let body = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": {"expirationSeconds": ttl.as_secs()},
    });
    let answer = send(client, what, post(&path, &body)).await?;
    let status = &answer["status"];
    let expires_at = status["expirationTimestamp"].as_str().and_then(|at| at.parse::<Timestamp>().ok());
    match (status["token"].as_str(), expires_at) {
        (Some(token), Some(expires_at)) => Ok(IssuedToken { token: SecretString::from(token), expires_at }),
        _ => Err(InstallError::Answer { what: what.into(), message: "the answer holds no token".into() }),
    }
}

/// Waits until the policy has refused several times in a row.
pub(super) async fn wait_in_force(client: &Client, within: Duration) -> Result<(), InstallError> {
    let deadline = Instant::now() + within;
    let mut seen = 0;
    while seen < REFUSALS {
        seen = if refuses(client).await? { seen + 1 } else { 0 };
        if Instant::now() > deadline {
            return Err(InstallError::PolicyNotInForce { within });
        }
        if seen < REFUSALS {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    Ok(())
}

/// Tries, dry, to write a fence as somebody who is not Meridian, which the policy must refuse.
async fn refuses(client: &Client) -> Result<bool, InstallError> {
    let probe = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {
            "generateName": "fence-probe-", "namespace": SYSTEM_NAMESPACE,
            "labels": {labels::MANAGED: "probe"},
            "annotations": {labels::FENCE: "0000000000.0000000000.0000000000"},
        },
    });
    let path = format!("/api/v1/namespaces/{SYSTEM_NAMESPACE}/configmaps?dryRun=All");
    match send(client, "try the fence policy", post(&path, &probe)).await {
        Ok(_) => Ok(false),
        Err(InstallError::Api { source, .. }) if matches!(&*source, kube::Error::Api(status) if status.message.contains(&format!("'{POLICY_NAME}'"))) => {
            Ok(true)
        }
        Err(error) => Err(error),
    }
}

fn post(path: &str, body: &Value) -> Result<Request<Vec<u8>>, http::Error> {
    Request::builder()
        .method(Method::POST)
        .uri(path)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(serde_json::to_vec(body).expect("a JSON value serialises"))
}

/// Whether `found` says everything that `wanted` says; what the server added is not counted.
fn contains(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => {
            wanted.iter().all(|(key, value)| found.get(key).is_some_and(|found| contains(found, value)))
        }
        (Value::Array(found), Value::Array(wanted)) => {
            found.len() == wanted.len() && found.iter().zip(wanted).all(|(f, w)| contains(f, w))
        }
        _ => found == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_adds_is_no_difference() {
        let wanted = json!({"a": {"b": [1, {"c": 2}]}});
        assert!(contains(&json!({"a": {"b": [1, {"c": 2, "d": 3}]}, "x": 1}), &wanted));
        assert!(!contains(&json!({"a": {"b": [1]}}), &wanted));
        assert!(!contains(&json!({"a": {"b": [1, {"c": 3}]}}), &wanted));
    }
}
