//! Ownership of an object's fields by `managedFields`, and its transfer to Meridian. Pure.
//!
//! A client that sends whole objects or patches (kubectl before server-side apply, Helm 3) owns its fields with the
//! operation `Update`. Server-side apply removes a field that the applied object lacks only where its own manager owned
//! the field. Without a transfer of ownership, all fields written by such a client would stay for ever.
//! `k8s.io/client-go/util/csaupgrade` does the same for kubectl.

use serde_json::{Map, Value, json};
use vocabulary::FIELD_MANAGER;

/// Manager to which the API server assigns fields written before it tracked ownership.
const BEFORE_OWNERSHIP: &str = "before-first-apply";

/// Returns whether the entry belongs to a client that applied the whole object on its own side.
fn is_client_side(entry: &Value) -> bool {
    let manager = entry["manager"].as_str().unwrap_or_default().to_ascii_lowercase();
    let known = manager.starts_with("kubectl") || manager.starts_with("helm") || manager == BEFORE_OWNERSHIP;
    known && entry["operation"] == "Update" && is_of_main_resource(entry)
}

fn is_of_main_resource(entry: &Value) -> bool {
    entry.get("subresource").and_then(Value::as_str).is_none_or(str::is_empty)
}

fn is_ours(entry: &Value) -> bool {
    entry["manager"] == FIELD_MANAGER && entry["operation"] == "Apply" && is_of_main_resource(entry)
}

fn entries(object: &Value) -> impl Iterator<Item = &Value> {
    object["metadata"]["managedFields"].as_array().into_iter().flatten()
}

/// Returns the fields that client-side managers own, as `fieldsV1`; `None` when they own none.
pub fn client_side_fields(object: &Value) -> Option<Value> {
    let mut all = Map::new();
    for entry in entries(object).filter(|entry| is_client_side(entry)) {
        unite(&mut all, &entry["fieldsV1"]);
    }
    (!all.is_empty()).then_some(Value::Object(all))
}

/// Returns `managedFields` after Meridian takes over the fields of client-side managers.
///
/// Returns `None` when these managers own nothing in the API version that Meridian takes over.
pub(crate) fn taken_over(object: &Value) -> Option<Value> {
    let target =
        entries(object).find(|entry| is_ours(entry)).or_else(|| entries(object).find(|e| is_client_side(e)))?;
    let version = &target["apiVersion"];
    // Field sets of another API version name other fields, and only the API server can translate them.
    let is_taken = |entry: &Value| is_client_side(entry) && entry["apiVersion"] == *version;
    if !entries(object).any(is_taken) {
        return None;
    }
    let mut fields = Map::new();
    for entry in entries(object).filter(|entry| is_ours(entry) || is_taken(entry)) {
        unite(&mut fields, &entry["fieldsV1"]);
    }
    let mut ours = json!({
        "manager": FIELD_MANAGER, "operation": "Apply", "apiVersion": version, "fieldsType": "FieldsV1", "fieldsV1": fields,
    });
    if let Some(time) = target.get("time") {
        ours["time"] = time.clone();
    }
    let others = entries(object).filter(|entry| !is_ours(entry) && !is_taken(entry)).cloned();
    Some(Value::Array(others.chain([ours]).collect()))
}

/// Adds the fields `more` to the set `all`.
fn unite(all: &mut Map<String, Value>, more: &Value) {
    for (key, inner) in more.as_object().into_iter().flatten() {
        match all.entry(key.clone()).or_insert_with(|| json!({})) {
            Value::Object(known) => unite(known, inner),
            other => *other = inner.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(managed: &Value) -> Value {
        json!({ "metadata": { "managedFields": managed } })
    }

    fn entry(manager: &str, operation: &str, version: &str, fields: &Value) -> Value {
        json!({ "manager": manager, "operation": operation, "apiVersion": version, "fieldsType": "FieldsV1", "fieldsV1": fields })
    }

    #[test]
    fn takeover_moves_fields_of_client_side_managers_only() {
        let controller = entry("kube-controller-manager", "Update", "apps/v1", &json!({ "f:metadata": { "f:a": {} } }));
        let mut scaled = entry("kubectl", "Update", "apps/v1", &json!({ "f:spec": { "f:replicas": {} } }));
        scaled["subresource"] = "scale".into();
        let before = object(&json!([
            entry("kubectl-client-side-apply", "Update", "apps/v1", &json!({ "f:spec": { "f:x": { "f:y": {} } } })),
            controller,
            scaled,
            entry("helm", "Update", "apps/v1", &json!({ "f:spec": { "f:x": { "f:z": {} } } })),
        ]));
        let ours = entry("meridian", "Apply", "apps/v1", &json!({ "f:spec": { "f:x": { "f:y": {}, "f:z": {} } } }));
        assert_eq!(taken_over(&before), Some(json!([controller, scaled, ours])));
        assert_eq!(client_side_fields(&before), Some(ours["fieldsV1"].clone()));
    }

    #[test]
    fn takeover_keeps_our_fields_and_needs_a_client_side_owner() {
        let ours = entry("meridian", "Apply", "v1", &json!({ "f:data": { "f:a": {} } }));
        let edited = entry("kubectl-edit", "Update", "v1", &json!({ "f:data": { "f:b": {} } }));
        let both = entry("meridian", "Apply", "v1", &json!({ "f:data": { "f:a": {}, "f:b": {} } }));
        assert_eq!(taken_over(&object(&json!([ours, edited]))), Some(json!([both])));
        let older = entry("kubectl-edit", "Update", "v1beta1", &json!({ "f:data": { "f:b": {} } }));
        assert_eq!(taken_over(&object(&json!([ours, older]))), None);
        assert_eq!(taken_over(&object(&json!([ours]))), None);
        assert_eq!(client_side_fields(&object(&json!([ours]))), None);
    }
}
