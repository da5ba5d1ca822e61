//! What is kept in memory of a member's object.

use std::collections::BTreeMap;

use domain::render::{self, Observed};
use jiff::Timestamp;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use vocabulary::{ContentHash, Fence, ObjectKey, labels};

use crate::status::bounded::bounded_message;

/// The few facts of a live object that delivery needs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ObservedObject {
    pub(crate) key: ObjectKey,
    pub(crate) uid: String,
    pub(crate) resource_version: String,
    pub(crate) fence: Option<Fence>,
    /// It carries the label by which it is watches; an answer of the member may show one that does not.
    pub(crate) managed: bool,
    /// Application and component named by its labels.
    pub(crate) app: Option<String>,
    pub(crate) component: Option<String>,
    /// Installation of Meridian that delivered it.
    pub(crate) installation: Option<String>,
    pub(crate) deleting: bool,
    /// When the member stored it first.
    pub(crate) created: Option<Timestamp>,
    /// Finalizers that others hold it by while it is being deleted.
    pub(crate) held_by: Vec<String>,
    /// Hash of the set of fields we own, by the member's own bookkeeping.
    pub(crate) fields: Option<ContentHash>,
    /// Fields that were ours after the last apply and are not any more.
    pub(crate) lost: Vec<String>,
    /// `spec.replicas`, where we own it.
    pub(crate) own_replicas: Option<i32>,
    pub(crate) observed: Observed,
}

/// Reads what a member tells of an object, without `spec.template`: nothing here looks at that, and it may be the larger part
/// of the object.
///
/// # Errors
/// What is not JSON, or no object.
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
    /// Whether the next step for it is the same as for another state of the object: all that a step is chosen by is equal.
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

    /// Reads a live object. Items of a list carry no kind, so it is given.
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

/// Finalizers of an object that is being deleted, but for those of Kubernetes' own garbage collector.
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
