//! Manifests of the hub as installed, generated from the types.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube_core::CustomResourceExt;

use crate::{Application, Cell, Cluster, PlacementPolicy};

/// Returns every CRD of the hub, sorted by name.
pub fn hub_crds() -> Vec<CustomResourceDefinition> {
    vec![Application::crd(), Cell::crd(), Cluster::crd(), PlacementPolicy::crd()]
}

/// Returns the path below this crate and the content of every manifest.
///
/// The content is indented JSON with a final line end. The hub needs the manifests in `manifests`. Those in `admission`
/// are optional: they save writes where the API server of the hub supports their kinds.
///
/// # Errors
/// Returns an error when a manifest cannot be serialized as JSON, which would be a defect of its types.
pub fn files() -> Result<Vec<(String, String)>, serde_json::Error> {
    let crds = hub_crds().into_iter().map(|crd| {
        Ok((format!("manifests/{}.json", crd.spec.names.plural), serde_json::to_string_pretty(&crd)? + "\n"))
    });
    let finalizers = serde_json::to_string_pretty(&crate::admission::finalizers())? + "\n";
    crds.chain([Ok(("admission/finalizers.json".to_owned(), finalizers))]).collect()
}
