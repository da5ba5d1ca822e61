//! Calls of the installer, and how they fail.

use std::time::Duration;

use http::Request;
use k8s_openapi::Resource;
use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::Client;
use serde_json::Value;

use super::Owner;
use crate::api_kind::ApiKind;

/// Kinds that join installs, with their names in paths.
const KINDS: [(&str, &str); 9] = [
    path_of::<Namespace>(),
    path_of::<ServiceAccount>(),
    path_of::<ConfigMap>(),
    path_of::<Role>(),
    path_of::<RoleBinding>(),
    path_of::<ClusterRole>(),
    path_of::<ClusterRoleBinding>(),
    path_of::<ValidatingAdmissionPolicy>(),
    path_of::<ValidatingAdmissionPolicyBinding>(),
];

const fn path_of<K: Resource>() -> (&'static str, &'static str) {
    (K::KIND, K::URL_PATH_SEGMENT)
}

/// Reason why an installation failed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The member is too old for the fence policy.
    #[error(
        "this cluster runs {found}; Meridian needs Kubernetes 1.30 or newer, because it relies on ValidatingAdmissionPolicy; upgrade the cluster and join again"
    )]
    TooOld {
        /// Version of the member.
        found: String,
    },
    /// Another installation of Meridian manages the member.
    #[error(
        "this cluster belongs to another Meridian: {there}; remove it there, or, if that one is no more, take away what it installed with `meridian cluster uninstall --kubeconfig FILE`"
    )]
    OtherInstallation {
        /// Owner recorded in the member.
        there: Box<Owner>,
    },
    /// The API server refused, or could not be reached.
    #[error("{what}: {source}")]
    Api {
        /// Action that failed.
        what: String,
        /// Cause of the failure.
        source: Box<kube::Error>,
    },
    /// The answer of the API server does not have the expected form.
    #[error("{what}: {message}")]
    Answer {
        /// Action that failed.
        what: String,
        /// Description of the problem.
        message: String,
    },
    /// The fence policy is stored but not enforced.
    #[error(
        "the fence policy is stored but the API server did not enforce it within {} s; look at the status of validatingadmissionpolicy/{name} and join again",
        within.as_secs(), name = super::POLICY_NAME
    )]
    PolicyNotInForce {
        /// Time that the installation waited.
        within: Duration,
    },
}

impl InstallError {
    pub(super) fn api(what: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let what = what.into();
        move |source| Self::Api { what, source: Box::new(source) }
    }

    /// Returns whether the API server reports that the object does not exist.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Api { source, .. } if matches!(&**source, kube::Error::Api(status) if status.code == 404))
    }
}

/// Reads the object from the member; `None` when it does not exist.
pub(super) async fn fetch(client: &Client, manifest: &Value) -> Result<Option<Value>, InstallError> {
    let (kind, namespace, name) = address(manifest);
    let request = Request::builder().uri(kind.object_path(&namespace, &name)).body(Vec::new());
    match send(client, &format!("read {}", title(manifest)), request).await {
        Ok(object) => Ok(Some(object)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

pub(crate) async fn send(
    client: &Client,
    what: &str,
    request: Result<Request<Vec<u8>>, http::Error>,
) -> Result<Value, InstallError> {
    let request =
        request.map_err(|error| InstallError::Answer { what: what.to_owned(), message: error.to_string() })?;
    client.request::<Value>(request).await.map_err(InstallError::api(what))
}

pub(super) fn title(manifest: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    format!("{} {}", text(&manifest["kind"]), text(&manifest["metadata"]["name"]))
}

pub(super) fn address(manifest: &Value) -> (ApiKind, String, String) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (api_version, kind) = (text(&manifest["apiVersion"]), text(&manifest["kind"]));
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let known = KINDS.iter().find(|(known, _)| *known == kind);
    let (_, plural) = known.expect("every kind that join installs is listed");
    let namespace = text(&manifest["metadata"]["namespace"]);
    let kind = if namespace.is_empty() {
        ApiKind::cluster_scoped(group, version, &kind, plural)
    } else {
        ApiKind::namespaced(group, version, &kind, plural)
    };
    (kind, namespace, text(&manifest["metadata"]["name"]))
}
