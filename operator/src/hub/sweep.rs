//! Detects deletions that no user requested: the object's namespace or kind is being deleted.

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::PartialObjectMeta;
use kube::{Api, Client};

use super::HubError;

/// Returns whether an object's namespace, or the CRD of its kind, is terminating or gone.
///
/// `plural` names the kind. `namespace` is empty for cluster-scoped kinds.
pub(crate) async fn is_swept(hub: &Client, plural: &str, namespace: &str) -> Result<bool, HubError> {
    let definitions = Api::<CustomResourceDefinition>::all(hub.clone());
    if goes(definitions.get_metadata_opt(&format!("{plural}.fleet.meridian.io")).await)? {
        return Ok(true);
    }
    if namespace.is_empty() {
        return Ok(false);
    }
    goes(Api::<Namespace>::all(hub.clone()).get_metadata_opt(namespace).await)
}

fn goes<K>(object: Result<Option<PartialObjectMeta<K>>, kube::Error>) -> Result<bool, HubError> {
    let object = object.map_err(|source| HubError::Sweep(Box::new(source)))?;
    Ok(object.is_none_or(|object| object.metadata.deletion_timestamp.is_some()))
}
