//! Publishes the installation's identity on the hub, so that `cluster join` can record it in members.

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::ObjectMeta;
use kube::{Api, Client};
use serde_json::json;
use vocabulary::{HUB_RECORD, SYSTEM_NAMESPACE};

use super::HubError;

/// Field manager of the record.
const MANAGER: &str = "meridian-record";

/// Writes the identity of the installation's database into the hub.
///
/// Creates the namespace of the record where it is missing.
pub(crate) async fn publish_installation(hub: &Client, installation: &str) -> Result<(), HubError> {
    let failed = |source| HubError::Record(Box::new(source));
    let record = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": HUB_RECORD, "namespace": SYSTEM_NAMESPACE, "labels": {"app.kubernetes.io/part-of": "meridian"}},
        "data": {"installation": installation},
    });
    let maps: Api<ConfigMap> = Api::namespaced(hub.clone(), SYSTEM_NAMESPACE);
    let known = maps.get_opt(HUB_RECORD).await.map_err(failed)?.and_then(|map| map.data?.remove("installation"));
    if known.as_deref() == Some(installation) {
        return Ok(());
    }
    let params = PatchParams::apply(MANAGER).force();
    match maps.patch(HUB_RECORD, &params, &Patch::Apply(&record)).await {
        Err(kube::Error::Api(status)) if status.code == 404 => {}
        other => return other.map(|_| ()).map_err(failed),
    }
    let metadata = ObjectMeta { name: Some(SYSTEM_NAMESPACE.to_owned()), ..ObjectMeta::default() };
    let namespace = Namespace { metadata, ..Namespace::default() };
    match Api::<Namespace>::all(hub.clone()).create(&PostParams::default(), &namespace).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 409 => {}
        Err(source) => return Err(failed(source)),
    }
    maps.patch(HUB_RECORD, &params, &Patch::Apply(&record)).await.map(|_| ()).map_err(failed)
}
