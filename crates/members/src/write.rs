//! Writes to a member: apply, stamp, delete, release and take over objects.

use std::collections::BTreeMap;

use http::Method;
use serde_json::{Map, Value, json};
use vocabulary::{FIELD_MANAGER, Fence, labels};

use crate::api_kind::ApiKind;
use crate::error::MemberError;
use crate::managers::taken_over;
use crate::member::Member;
use crate::transport::Call;

const APPLY: &str = "application/apply-patch+yaml";
const JSON_PATCH: &str = "application/json-patch+json";
const MERGE: &str = "application/merge-patch+json";
/// Maximum number of attempts to remove an object that other clients write meanwhile.
const REMOVE_ATTEMPTS: u32 = 5;
const JSON: &str = "application/json";

/// Options of a server-side apply.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ApplyOptions {
    /// Takes fields over from other managers instead of failing with [`MemberError::Conflict`].
    pub force: bool,
    /// Lets the server do everything except storing the object.
    pub dry_run: bool,
    /// Applies only where no object of that name exists yet.
    ///
    /// An existing object gives [`MemberError::Conflict`] with no managers.
    ///
    /// The object is applied as a change of `resourceVersion` 1. No object has that version, because etcd's first
    /// revision precedes every object. An object that does not exist has no version to differ in (observed with
    /// Kubernetes 1.36). A server that behaves otherwise refuses the apply.
    pub absent: bool,
}

/// State that the object must still have for a write to happen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Preconditions {
    /// UID that the object must have.
    pub uid: Option<String>,
    /// `resourceVersion` that the object must have.
    pub resource_version: Option<String>,
}

impl Preconditions {
    /// Requires exactly this object in exactly this version, both taken from its metadata.
    pub fn of(object: &Value) -> Self {
        let text = |field: &str| object["metadata"][field].as_str().map(String::from);
        Self { uid: text("uid"), resource_version: text("resourceVersion") }
    }

    fn metadata(&self) -> Map<String, Value> {
        let mut metadata = Map::new();
        if let Some(uid) = &self.uid {
            metadata.insert("uid".into(), uid.clone().into());
        }
        if let Some(version) = &self.resource_version {
            metadata.insert("resourceVersion".into(), version.clone().into());
        }
        metadata
    }
}

impl Member {
    /// Applies an object as manager `meridian`; returns the stored object.
    ///
    /// A dry run returns the object as it would be stored.
    ///
    /// Validation is strict for every kind: an unknown field is [`MemberError::Invalid`] and is never dropped silently.
    /// Custom resources that preserve unknown fields pass, because they have no unknown fields by definition.
    pub async fn apply(
        &self,
        kind: &ApiKind,
        namespace: &str,
        name: &str,
        object: &Value,
        options: ApplyOptions,
    ) -> Result<Value, MemberError> {
        let mut path =
            format!("{}?fieldManager={FIELD_MANAGER}&fieldValidation=Strict", kind.object_path(namespace, name));
        if options.force {
            path.push_str("&force=true");
        }
        if options.dry_run {
            path.push_str("&dryRun=All");
        }
        if options.absent {
            let mut object = object.clone();
            object["metadata"]["resourceVersion"] = "1".into();
            return self.send(Method::PATCH, path, APPLY, &object).await;
        }
        self.send(Method::PATCH, path, APPLY, object).await
    }

    /// Writes the delete-fence, which is the first half of every delete.
    ///
    /// The member's policy refuses a delete-fence below the object's own fence. The policy also refuses our delete of
    /// an object without a delete-fence.
    pub async fn stamp_delete(
        &self,
        kind: &ApiKind,
        namespace: &str,
        name: &str,
        fence: Fence,
        only_if: &Preconditions,
    ) -> Result<Value, MemberError> {
        let mut metadata = only_if.metadata();
        metadata.insert("annotations".into(), json!({ labels::DELETE_FENCE: fence }));
        self.merge(kind, namespace, name, &json!({ "metadata": metadata })).await
    }

    /// Deletes an object only if the preconditions hold.
    ///
    /// The deletion is a background deletion: the member collects the dependants.
    pub async fn delete(
        &self,
        kind: &ApiKind,
        namespace: &str,
        name: &str,
        only_if: &Preconditions,
    ) -> Result<(), MemberError> {
        let options = json!({
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": only_if.metadata(),
        });
        let path = kind.object_path(namespace, name);
        self.send(Method::DELETE, path, JSON, &options).await.map(|_: Value| ())
    }

    /// Stamps and deletes the object with this UID; `Ok` also when the object is gone already.
    ///
    /// The object is read again when its status changed in between, as the status of a running workload does.
    ///
    /// # Errors
    /// - The member refuses an object whose fence has risen above `fence`.
    /// - An object with another UID is [`MemberError::Conflict`].
    pub async fn remove(
        &self,
        kind: &ApiKind,
        namespace: &str,
        name: &str,
        fence: Fence,
        uid: &str,
    ) -> Result<(), MemberError> {
        let mut attempts = REMOVE_ATTEMPTS;
        loop {
            match self.remove_once(kind, namespace, name, fence, uid).await {
                Err(MemberError::NotFound { .. }) => return Ok(()),
                Err(MemberError::Conflict { .. }) if attempts > 1 => attempts -= 1,
                other => return other,
            }
        }
    }

    async fn remove_once(
        &self,
        kind: &ApiKind,
        namespace: &str,
        name: &str,
        fence: Fence,
        uid: &str,
    ) -> Result<(), MemberError> {
        let found = Preconditions::of(&self.get(kind, namespace, name).await?);
        let only_if = Preconditions { uid: Some(uid.to_owned()), ..found };
        let stamped = self.stamp_delete(kind, namespace, name, fence, &only_if).await?;
        self.delete(kind, namespace, name, &Preconditions::of(&stamped)).await
    }

    /// Releases an object from Meridian and leaves the object and its workload running.
    ///
    /// The call stamps the object, then removes our labels and annotations and our ownership of every field. So the
    /// next owner meets no conflict. An annotation records `owner` as the previous owner.
    pub async fn release(
        &self,
        kind: &ApiKind,
        namespace: &str,
        name: &str,
        fence: Fence,
        only_if: &Preconditions,
        owner: &str,
    ) -> Result<Value, MemberError> {
        let held = self.stamp_delete(kind, namespace, name, fence, only_if).await?;
        let mut metadata = Preconditions::of(&held).metadata();
        for field in ["labels", "annotations"] {
            metadata.insert(field.into(), Value::Object(ours_removed(&held, field)));
        }
        metadata["annotations"][labels::RELEASED] = owner.into();
        metadata.insert("managedFields".into(), others_ownership(&held));
        self.merge(kind, namespace, name, &json!({ "metadata": metadata })).await
    }

    /// Takes over an object from the clients that applied it on their own side.
    ///
    /// Meridian then owns the fields of these clients, so the next apply removes those that it does not contain.
    /// `marks` is the rendered object, whose labels and fence the object gets in the same write. `there` is the object
    /// as it was read; the write requires exactly this state.
    pub async fn take_over(
        &self,
        kind: &ApiKind,
        namespace: &str,
        name: &str,
        there: &Value,
        marks: &Value,
    ) -> Result<(), MemberError> {
        let Some(fields) = taken_over(there) else { return Ok(()) };
        let mut metadata = Preconditions::of(there).metadata();
        for field in ["labels", "annotations"] {
            metadata.insert(field.into(), Value::Object(ours_of(marks, field)));
        }
        metadata.insert("managedFields".into(), fields);
        self.merge(kind, namespace, name, &json!({ "metadata": metadata })).await.map(|_| ())
    }

    /// Replaces whole lists of exactly this object in this version.
    ///
    /// Server-side apply merges lists by key. So it cannot remove items that another manager put beside our items.
    /// `lists` holds JSON pointers, each with the new content of the list.
    pub async fn replace_lists(
        &self,
        kind: &ApiKind,
        namespace: &str,
        name: &str,
        fence: Fence,
        there: &Value,
        lists: &[(String, Value)],
    ) -> Result<(), MemberError> {
        let annotation = format!("/metadata/annotations/{}", labels::FENCE.replace('~', "~0").replace('/', "~1"));
        // A `resourceVersion` other than the object's own is a conflict, like that of an update.
        let mut operations = vec![
            json!({"op": "replace", "path": "/metadata/resourceVersion", "value": there["metadata"]["resourceVersion"]}),
            json!({"op": "replace", "path": "/metadata/uid", "value": there["metadata"]["uid"]}),
            json!({"op": "add", "path": annotation, "value": fence}),
        ];
        operations.extend(lists.iter().map(|(path, list)| json!({"op": "replace", "path": path, "value": list})));
        let path = format!("{}?fieldManager={FIELD_MANAGER}", kind.object_path(namespace, name));
        self.send(Method::PATCH, path, JSON_PATCH, &Value::Array(operations)).await.map(|_: Value| ())
    }

    /// Creates the namespace with these labels when it is missing.
    ///
    /// An existing namespace stays as it is, regardless of its owner.
    pub async fn ensure_namespace(&self, name: &str, labels: &BTreeMap<String, String>) -> Result<(), MemberError> {
        let kind = ApiKind::cluster_scoped("", "v1", "Namespace", "namespaces");
        match self.get_bytes(&kind, "", name).await {
            Err(MemberError::NotFound { .. }) => {}
            other => return other.map(|_| ()),
        }
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
        let path = format!("/api/v1/namespaces?fieldManager={FIELD_MANAGER}");
        match self.send(Method::POST, path, JSON, &namespace).await {
            // Another client created the namespace first, which is enough.
            Err(MemberError::Conflict { .. }) => Ok(()),
            other => other.map(|_: Value| ()),
        }
    }

    async fn merge(&self, kind: &ApiKind, namespace: &str, name: &str, change: &Value) -> Result<Value, MemberError> {
        let path = format!("{}?fieldManager={FIELD_MANAGER}", kind.object_path(namespace, name));
        match self.send(Method::PATCH, path, MERGE, change).await {
            // The API server treats a patch with another UID as a change of the UID. Here it is a failed precondition.
            Err(MemberError::Invalid { message, fields }) if fields.iter().any(|field| field == "metadata.uid") => {
                Err(MemberError::Conflict { message, managers: Vec::new() })
            }
            other => other,
        }
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: String,
        content_type: &'static str,
        body: &Value,
    ) -> Result<Value, MemberError> {
        let body = serde_json::to_vec(body).expect("a JSON value serialises");
        let answer = self.transport.call(&Call::send(method, path, content_type, body)).await?;
        self.json(&answer)
    }
}

/// Returns our keys in a map of the metadata.
fn ours_of(object: &Value, field: &str) -> Map<String, Value> {
    let all = object["metadata"][field].as_object().into_iter().flatten();
    all.filter(|(key, _)| key.starts_with(labels::PREFIX)).map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// Returns a merge patch that removes every key of ours from a map in the metadata.
fn ours_removed(object: &Value, field: &str) -> Map<String, Value> {
    object["metadata"][field]
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(key, _)| key.starts_with("fleet.meridian.io/"))
        .map(|(key, _)| (key.clone(), Value::Null))
        .collect()
}

/// Returns `managedFields` without our entries.
///
/// A list of one empty entry is the API server's form for "no owner".
fn others_ownership(object: &Value) -> Value {
    let others: Vec<Value> = object["metadata"]["managedFields"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|entry| entry["manager"] != FIELD_MANAGER)
        .cloned()
        .collect();
    if others.is_empty() { json!([{}]) } else { Value::Array(others) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn release_touches_only_what_is_ours() {
        let object = json!({"metadata": {
            "labels": {"app": "x", labels::MANAGED: "true"},
            "annotations": {labels::FENCE: "f", "note": "keep"},
            "managedFields": [{"manager": "meridian"}, {"manager": "kubectl"}],
        }});
        assert_eq!(Value::Object(ours_removed(&object, "labels")), json!({labels::MANAGED: null}));
        assert_eq!(Value::Object(ours_removed(&object, "annotations")), json!({labels::FENCE: null}));
        assert_eq!(others_ownership(&object), json!([{"manager": "kubectl"}]));
        assert_eq!(others_ownership(&json!({})), json!([{}]));
    }
}
