//! The manifests of the hub as they are installed, generated from the types.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube_core::CustomResourceExt;

use crate::{Application, Cell, Cluster, PlacementPolicy};

/// Every CRD of the hub, in the order of their names.
pub fn hub_crds() -> Vec<CustomResourceDefinition> {
    vec![Application::crd(), Cell::crd(), Cluster::crd(), PlacementPolicy::crd()]
}

/// Path below this crate and content of every manifest: indented JSON with a line end. Those in `manifests` are needed,
/// those in `admission` spare work where the hub's API server knows their kinds.
///
/// # Errors
/// When a manifest cannot be written as JSON, which would be a defect of its types.
pub fn files() -> Result<Vec<(String, String)>, serde_json::Error> {
    let crds = hub_crds().into_iter().map(|crd| {
        Ok((format!("manifests/{}.json", crd.spec.names.plural), serde_json::to_string_pretty(&crd)? + "\n"))
    });
    let finalizers = serde_json::to_string_pretty(&crate::admission::finalizers())? + "\n";
    crds.chain([Ok(("admission/finalizers.json".to_owned(), finalizers))]).collect()
}
