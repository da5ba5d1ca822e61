//! The CRD manifests as they are installed, generated from the types.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube_core::CustomResourceExt;

use crate::{Application, Cell, Cluster, PlacementPolicy};

/// Every CRD of the hub, in the order of their names.
pub fn hub_crds() -> Vec<CustomResourceDefinition> {
    vec![Application::crd(), Cell::crd(), Cluster::crd(), PlacementPolicy::crd()]
}

/// File name and content of every manifest: indented JSON with a line end.
///
/// # Errors
/// When a manifest cannot be written as JSON, which would be a defect of its types.
pub fn files() -> Result<Vec<(String, String)>, serde_json::Error> {
    hub_crds()
        .iter()
        .map(|crd| Ok((format!("{}.json", crd.spec.names.plural), serde_json::to_string_pretty(crd)? + "\n")))
        .collect()
}
