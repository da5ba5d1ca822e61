//! Calls of the installer, and how they fail.

use http::Method;
use serde_json::Value;

use crate::{Member, MemberError};

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
