//! The CRD manifests as they are installed, generated from the types.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube_core::CustomResourceExt;

use crate::{Application, Cell, Cluster, PlacementPolicy};

/// Every CRD of the hub, in the order of their names.
pub fn hub_crds() -> Vec<CustomResourceDefinition> {
    vec![
        Application::crd(),
        Cell::crd(),
        Cluster::crd(),
        PlacementPolicy::crd(),
    ]
}
