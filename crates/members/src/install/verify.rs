//! Checks that a member holds the installed objects and enforces the fence policy.

use std::time::Duration;

use http::{Method, Request};
use jiff::Timestamp;
use kube::Client;
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::time::Instant;
use vocabulary::{MEMBER_SERVICE_ACCOUNT, SYSTEM_NAMESPACE, labels};

use super::calls::{InstallError, fetch, send, title};
use super::{Installation, POLICY_NAME};
use crate::access::IssuedToken;
use crate::member::ServerVersion;

/// Number of consecutive refusals that count as "in force".
///
/// There may be several API servers behind one address.
const REFUSALS: u32 = 3;

/// Problem of an installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Issue {
    /// An object is missing.
    Missing(String),
    /// An object differs from the one that this version installs.
    Differs(String),
    /// The fence policy does not refuse a write that it must refuse.
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

/// Compares the member with the installation; returns an empty list when there is no problem.
///
/// The client needs the joining user's rights.
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

/// Reads the member's version with the joining user's credentials.
pub async fn server_version(client: &Client) -> Result<ServerVersion, InstallError> {
    let what = "read the cluster's version";
    let version = send(client, what, Request::get("/version").body(Vec::new())).await?;
    ServerVersion::parse(version.to_string().as_bytes())
        .map_err(|message| InstallError::Answer { what: what.into(), message })
}

/// Reads the UID of the member's kube-system namespace with the joining user's credentials.
pub async fn kube_system_uid(client: &Client) -> Result<String, InstallError> {
    let what = "read the namespace kube-system";
    let path = "/api/v1/namespaces/kube-system";
    let namespace = send(client, what, Request::get(path).body(Vec::new())).await?;
    match namespace["metadata"]["uid"].as_str() {
        Some(uid) => Ok(uid.to_owned()),
        None => Err(InstallError::Answer { what: what.into(), message: "it has no uid".into() }),
    }
}

/// Requests the first token of our service account with the joining user's credentials.
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

/// Tries in a dry run to write a fence as a user other than Meridian, which the policy must refuse.
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

/// Returns whether `found` contains everything in `wanted`; additions of the server do not count.
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
    fn fields_added_by_the_server_are_no_difference() {
        let wanted = json!({"a": {"b": [1, {"c": 2}]}});
        assert!(contains(&json!({"a": {"b": [1, {"c": 2, "d": 3}]}, "x": 1}), &wanted));
        assert!(!contains(&json!({"a": {"b": [1]}}), &wanted));
        assert!(!contains(&json!({"a": {"b": [1, {"c": 3}]}}), &wanted));
    }
}
