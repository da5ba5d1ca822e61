//! The part of a member's object that is kept in memory.

use std::collections::BTreeMap;

use domain::render::{self, Observed};
use jiff::Timestamp;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use vocabulary::{ContentHash, Fence, ObjectKey, labels};

use crate::status::bounded::bounded_message;

/// Fields of a live object that delivery needs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ObservedObject {
    pub(crate) key: ObjectKey,
    pub(crate) uid: String,
    pub(crate) resource_version: String,
    pub(crate) fence: Option<Fence>,
    /// Whether the object carries the label by which it is watched.
    ///
    /// A response of the member may contain an object without it.
    pub(crate) managed: bool,
    /// Application and component named by its labels.
    pub(crate) app: Option<String>,
    pub(crate) component: Option<String>,
    /// Installation of Meridian that delivered the object.
    pub(crate) installation: Option<String>,
    pub(crate) deleting: bool,
    /// Creation time in the member.
    pub(crate) created: Option<Timestamp>,
    /// Finalizers of other owners that block a deletion in progress.
    pub(crate) held_by: Vec<String>,
    /// Hash of the set of fields Meridian owns, from `metadata.managedFields`.
    pub(crate) fields: Option<ContentHash>,
    /// Fields that Meridian owned after the last apply and no longer owns.
    pub(crate) lost: Vec<String>,
    /// `spec.replicas`, if Meridian owns it.
    pub(crate) own_replicas: Option<i32>,
    pub(crate) observed: Observed,
}

/// Parses a member's object without `spec.template`.
///
/// Observation does not use the template, which may be the larger part of the object.
///
/// # Errors
/// When the bytes are not JSON, or not a JSON object.
pub(crate) fn without_template(bytes: &[u8]) -> serde_json::Result<Value> {
    let fields = serde_json::from_slice::<BTreeMap<String, &RawValue>>(bytes)?;
    let read = |(name, raw): (String, &RawValue)| {
        let value = match name.as_str() {
            "spec" if raw.get().starts_with('{') => {
                let fields = serde_json::from_str::<BTreeMap<String, &RawValue>>(raw.get())?;
                let wanted = fields.into_iter().filter(|(name, _)| name != "template");
                let read = |(name, raw): (String, &RawValue)| Ok((name, serde_json::from_str(raw.get())?));
                Value::Object(wanted.map(read).collect::<serde_json::Result<Map<_, _>>>()?)
            }
            _ => serde_json::from_str(raw.get())?,
        };
        Ok((name, value))
    };
    fields.into_iter().map(read).collect::<serde_json::Result<Map<_, _>>>().map(Value::Object)
}

impl ObservedObject {
    /// Whether two states of the object need the same action: all fields that choose the action are equal.
    pub(crate) fn is_told_alike(&self, other: &Self) -> bool {
        self.uid == other.uid
            && self.fence == other.fence
            && self.managed == other.managed
            && self.app == other.app
            && self.component == other.component
            && self.own_replicas == other.own_replicas
            && self.deleting == other.deleting
            && self.fields == other.fields
            && self.lost == other.lost
    }

    /// Reads a live object. Items of a list carry no API version and kind, so the caller passes both.
    pub(crate) fn read(api_version: &str, kind: &str, object: &Value) -> Option<Self> {
        let metadata = object.get("metadata")?;
        let text = |name: &str| metadata.get(name).and_then(Value::as_str).map(str::to_owned);
        let label = |name: &str| metadata.get("labels").and_then(|labels| labels.get(name)).and_then(Value::as_str);
        let annotation = |name: &str| metadata.get("annotations").and_then(|all| all.get(name)).and_then(Value::as_str);
        let fence = annotation(labels::FENCE).and_then(|text| text.parse().ok());
        let own = render::our_fields(object);
        let owns_replicas = own.is_some_and(|fields| fields.pointer("/f:spec/f:replicas").is_some());
        let replicas = object.pointer("/spec/replicas").and_then(Value::as_i64).and_then(|n| i32::try_from(n).ok());
        Some(Self {
            key: ObjectKey {
                api_version: api_version.to_owned(),
                kind: kind.to_owned(),
                namespace: text("namespace").unwrap_or_default(),
                name: text("name")?,
            },
            uid: text("uid")?,
            resource_version: text("resourceVersion").unwrap_or_default(),
            fence,
            managed: label(labels::MANAGED).is_some(),
            app: label(labels::APP).map(str::to_owned),
            component: label(labels::COMPONENT).map(str::to_owned),
            installation: annotation(labels::INSTALLATION).map(str::to_owned),
            deleting: metadata.get("deletionTimestamp").is_some(),
            created: text("creationTimestamp").and_then(|text| text.parse().ok()),
            held_by: foreign_finalizers(metadata),
            fields: own.map(render::fields_hash),
            lost: Vec::new(),
            own_replicas: replicas.filter(|_| owns_replicas),
            observed: {
                let mut observed = render::observe(api_version, kind, object);
                observed.message = observed.message.map(bounded_message);
                observed
            },
        })
    }
}

/// Finalizers of an object that is being deleted, except those of Kubernetes' garbage collector.
fn foreign_finalizers(metadata: &Value) -> Vec<String> {
    if metadata.get("deletionTimestamp").is_none() {
        return Vec::new();
    }
    let all = metadata.get("finalizers").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    all.filter(|name| !matches!(*name, "foregroundDeletion" | "orphan")).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn all_is_read_but_the_template() {
        let object = json!({
            "metadata": {"name": "web", "annotations": {"a": "\"b\""}},
            "spec": {"replicas": 3, "template": {"spec": {"containers": [{"name": "web"}]}}, "selector": {"template": 1}},
            "status": {"template": true},
        });
        let mut wanted = object.clone();
        wanted["spec"].as_object_mut().unwrap().remove("template");
        assert_eq!(without_template(object.to_string().as_bytes()).unwrap(), wanted);
        for whole in [json!({"metadata": {"name": "web"}}), json!({"spec": null}), json!({"spec": ["template"]})] {
            assert_eq!(without_template(whole.to_string().as_bytes()).unwrap(), whole);
        }
        assert!(without_template(b"[]").is_err() && without_template(b"{\"spec\": {").is_err());
    }
}
