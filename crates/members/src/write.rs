//! What we change in a member: apply, stamp, delete, release.

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
/// How often a removal starts over because somebody wrote in between.
const REMOVE_ATTEMPTS: u32 = 5;
const JSON: &str = "application/json";

/// How to apply.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ApplyOptions {
    /// Take fields over from other managers instead of failing with [`MemberError::Conflict`].
    pub force: bool,
    /// Let the server do everything except storing it.
    pub dry_run: bool,
    /// Only where nothing of that name is there yet; [`MemberError::Conflict`] with no managers when there is.
    ///
    /// The object is applied as a change of version 1, which none has: etcd's first revision precedes every object. What
    /// is not there yet has no version to differ in (seen with Kubernetes 1.36). A server that sees that otherwise refuses.
    pub absent: bool,
}

/// What the object must still be for a write to happen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Preconditions {
    /// The object's UID.
    pub uid: Option<String>,
    /// The object's resourceVersion.
    pub resource_version: Option<String>,
}

impl Preconditions {
    /// Exactly this object in exactly this version, taken from its metadata.
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
    /// Server-side apply as manager `meridian`; returns the object as stored (or, dry, as it would be).
    ///
    /// Validation is strict for every kind: a field the member does not know is [`MemberError::Invalid`], never
    /// dropped silently. Custom resources that preserve unknown fields have none by definition, so they pass.
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

    /// Writes the delete-fence, the first half of every delete. The member's policy refuses a fence below the
    /// object's own, and refuses our delete of an object that carries none.
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

    /// Deletes in the background (dependants are collected by the member), only if the preconditions hold.
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

    /// Stamps and deletes the object with this UID, reading it anew when its status changed in between, as that of a
    /// running workload does. `Ok` also when it is gone already. An object whose fence has risen above `fence` is
    /// refused by the member; one with another UID is [`MemberError::Conflict`].
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

    /// Lets an object go: stamps it, then removes our labels and annotations and gives up the ownership of every
    /// field, so that the next owner meets no conflict. The object and what runs stay as they are. `owner` is written down as
    /// the one it belonged to.
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

    /// Takes an object over from the clients that applied it on their own side: what they owned is ours from then on, so that
    /// the next apply removes what it does not hold. `marks` is the rendered object, whose labels and fence the object gets in
    /// the same write; `there` is the object as it was read, and the only state in which it is taken.
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

    /// Replaces whole lists of exactly this object in this version: server-side apply merges lists by key, and what another
    /// manager put beside our items cannot be removed by it. `lists` are JSON pointers with what the list is to hold.
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
        // A version that is not the object's own is a conflict, like that of an update.
        let mut operations = vec![
            json!({"op": "replace", "path": "/metadata/resourceVersion", "value": there["metadata"]["resourceVersion"]}),
            json!({"op": "replace", "path": "/metadata/uid", "value": there["metadata"]["uid"]}),
            json!({"op": "add", "path": annotation, "value": fence}),
        ];
        operations.extend(lists.iter().map(|(path, list)| json!({"op": "replace", "path": path, "value": list})));
        let path = format!("{}?fieldManager={FIELD_MANAGER}", kind.object_path(namespace, name));
        self.send(Method::PATCH, path, JSON_PATCH, &Value::Array(operations)).await.map(|_: Value| ())
    }

    /// Creates the namespace with these labels when it is missing; an existing one, of whoever, is left alone.
    pub async fn ensure_namespace(&self, name: &str, labels: &BTreeMap<String, String>) -> Result<(), MemberError> {
        let kind = ApiKind::cluster_scoped("", "v1", "Namespace", "namespaces");
        match self.get_bytes(&kind, "", name).await {
            Err(MemberError::NotFound { .. }) => {}
            other => return other.map(|_| ()),
        }
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
        let path = format!("/api/v1/namespaces?fieldManager={FIELD_MANAGER}");
        match self.send(Method::POST, path, JSON, &namespace).await {
            // Somebody else was faster: it exists, which is all we want.
            Err(MemberError::Conflict { .. }) => Ok(()),
            other => other.map(|_: Value| ()),
        }
    }

    async fn merge(&self, kind: &ApiKind, namespace: &str, name: &str, change: &Value) -> Result<Value, MemberError> {
        let path = format!("{}?fieldManager={FIELD_MANAGER}", kind.object_path(namespace, name));
        match self.send(Method::PATCH, path, MERGE, change).await {
            // A patch with another object's uid reads as an attempt to change the uid: it is a failed precondition.
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

/// The keys of ours in a map of the metadata.
fn ours_of(object: &Value, field: &str) -> Map<String, Value> {
    let all = object["metadata"][field].as_object().into_iter().flatten();
    all.filter(|(key, _)| key.starts_with(labels::PREFIX)).map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// A merge patch that removes every key of ours from a map in the metadata.
fn ours_removed(object: &Value, field: &str) -> Map<String, Value> {
    object["metadata"][field]
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(key, _)| key.starts_with("fleet.meridian.io/"))
        .map(|(key, _)| (key.clone(), Value::Null))
        .collect()
}

/// The managedFields without ours. A list of one empty entry is the API server's way to say "nobody".
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
