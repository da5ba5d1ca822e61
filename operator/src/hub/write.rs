//! Meridian's writes to the hub, which are finalizers and status, and the reads for them.

use http::header::{ACCEPT, CONTENT_TYPE};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{PartialObjectMeta, Patch, PatchParams};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use vocabulary::labels::FINALIZER;

/// Field manager of status on the hub.
const STATUS_MANAGER: &str = "meridian-status";
/// Path of the finalizers in an object.
const FINALIZERS: &str = "/metadata/finalizers";
const JSON_PATCH: &str = "application/json-patch+json";
/// Requests only the metadata in the answer. A server without that feature sends the whole object.
const METADATA_ALONE: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";

/// Reason why a call to the hub failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HubError {
    #[error("the hub's kube-system namespace could not be read")]
    Identity(#[source] Box<kube::Error>),
    #[error("the identity of this installation could not be published on the hub; `cluster join` cannot record it")]
    Record(#[source] Box<kube::Error>),
    #[error("whether the object's namespace or kind is being deleted could not be read")]
    Sweep(#[source] Box<kube::Error>),
    #[error("{name} could not be read")]
    Object {
        name: String,
        #[source]
        source: Box<kube::Error>,
    },
    #[error("the finalizer of {name} could not be written")]
    Finalizer {
        name: String,
        #[source]
        source: Box<kube::Error>,
    },
    /// A Cell of a zone could not be created or deleted.
    #[error("the Cell {name}, which stands for a zone of its cluster, could not be written")]
    Cell {
        name: String,
        #[source]
        source: Box<kube::Error>,
    },
    #[error("the status of {name} could not be written")]
    Status {
        name: String,
        #[source]
        source: Box<kube::Error>,
    },
    /// The credential Secret could not be deleted after its credential was sealed.
    #[error("the Secret {name} could not be deleted")]
    Secret {
        name: String,
        #[source]
        source: Box<kube::Error>,
    },
}

/// Reads the UID of the hub, which is that of its kube-system namespace.
pub(crate) async fn read_identity(client: &Client) -> Result<String, HubError> {
    let namespace = Api::<Namespace>::all(client.clone())
        .get("kube-system")
        .await
        .map_err(|source| HubError::Identity(Box::new(source)))?;
    Ok(namespace.uid().unwrap_or_default())
}

/// Reads an object that does not fit our types; `None` when it is gone.
pub(crate) async fn read_as_json<K: Resource>(
    client: &Client,
    api: &Api<K>,
    name: &str,
) -> Result<Option<Value>, HubError> {
    let failed = |source| HubError::Object { name: name.to_owned(), source: Box::new(source) };
    let request = http::Request::get(format!("{}/{name}", api.resource_url()))
        .body(Vec::new())
        .map_err(|error| failed(kube::Error::HttpError(error)))?;
    match client.request(request).await {
        Ok(object) => Ok(Some(object)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(source) => Err(failed(source)),
    }
}

/// Adds our finalizer to an object that lacks it, so that intake sees its deletion.
pub(crate) async fn ensure_finalizer<K>(api: &Api<K>, object: &K) -> Result<(), HubError>
where
    K: Resource + Clone + std::fmt::Debug + DeserializeOwned,
{
    if object.finalizers().iter().any(|finalizer| finalizer == FINALIZER) {
        return Ok(());
    }
    let add = match object.finalizers() {
        [] => json!({ "op": "add", "path": FINALIZERS, "value": [FINALIZER] }),
        _ => json!({ "op": "add", "path": format!("{FINALIZERS}/-"), "value": FINALIZER }),
    };
    write_finalizers(api, object, add).await
}

/// Removes our finalizer from an object, so that its deletion can complete.
pub(crate) async fn drop_finalizer<K>(api: &Api<K>, object: &K) -> Result<(), HubError>
where
    K: Resource + Clone + std::fmt::Debug + DeserializeOwned,
{
    let Some(place) = object.finalizers().iter().position(|finalizer| finalizer == FINALIZER) else { return Ok(()) };
    write_finalizers(api, object, json!({ "op": "remove", "path": format!("{FINALIZERS}/{place}") })).await
}

/// Writes the finalizers, guarded by the UID, finalizers and deletion timestamp that were read.
///
/// The guards keep another controller's finalizers. They also keep the finalizers of an object whose deletion a restore
/// of the hub has undone. A concurrent write of status does not fail the patch.
async fn write_finalizers<K>(api: &Api<K>, object: &K, change: Value) -> Result<(), HubError>
where
    K: Resource + Clone + std::fmt::Debug + DeserializeOwned,
{
    let name = object.name_any();
    let failed = |source| HubError::Finalizer { name: name.clone(), source: Box::new(source) };
    // An object without finalizers is tested for null: the API server's JSON patch treats an absent field as null.
    let seen = json!({ "op": "test", "path": FINALIZERS, "value": object.meta().finalizers });
    let same = json!({ "op": "test", "path": "/metadata/uid", "value": object.uid() });
    let deleted = &object.meta().deletion_timestamp;
    let going = json!({ "op": "test", "path": "/metadata/deletionTimestamp", "value": deleted });
    let patch = serde_json::from_value(json!([same, going, seen, change]));
    let patch = Patch::<()>::Json(patch.map_err(|error| failed(kube::Error::SerdeError(error)))?);
    match api.patch_metadata(&name, &PatchParams::default(), &patch).await {
        Ok(_) => Ok(()),
        // The object is gone already, which is the purpose of removing the finalizer.
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(source) => Err(failed(source)),
    }
}

/// Writes a whole status in place of the present one. An object that is gone is no error.
///
/// The request is a JSON patch of one operation, answered with metadata alone. Status has one writer, so there is
/// nothing to merge. This form costs the API server least: it parses the body of a server-side apply as YAML.
pub(crate) async fn write_status<K, S>(client: &Client, api: &Api<K>, name: &str, status: &S) -> Result<(), HubError>
where
    K: Resource + Clone + std::fmt::Debug + DeserializeOwned,
    S: Serialize,
{
    let failed = |source| HubError::Status { name: name.to_owned(), source: Box::new(source) };
    // Adding an existing field replaces it (RFC 6902, section 4.1).
    let patch = json!([{ "op": "add", "path": "/status", "value": status }]);
    let request = http::Request::patch(format!("{}/{name}/status?fieldManager={STATUS_MANAGER}", api.resource_url()))
        .header(CONTENT_TYPE, JSON_PATCH)
        .header(ACCEPT, METADATA_ALONE)
        .body(serde_json::to_vec(&patch).map_err(|error| failed(kube::Error::SerdeError(error)))?)
        .map_err(|error| failed(kube::Error::HttpError(error)))?;
    match client.request::<PartialObjectMeta<K>>(request).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(source) => Err(failed(source)),
    }
}
