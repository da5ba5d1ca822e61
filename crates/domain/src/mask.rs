//! Masks contents of Secrets before they are shown.

use serde_json::Value;

/// Replaces a secret value.
const MASK: &str = "***";
/// Annotation that holds the whole object as `kubectl apply` last sent it.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Masks the contents of every Secret in a value.
///
/// Covers Secrets, components that are Secrets, overrides of such components, and copies in annotations.
pub fn mask_secrets(value: &mut Value) {
    mask_components(value);
    match value {
        Value::Object(map) => {
            let is_secret = map.get("kind").is_some_and(|kind| kind == "Secret")
                && map.get("apiVersion").is_none_or(|version| version == "v1");
            for (key, inner) in map.iter_mut() {
                match key.as_str() {
                    "data" | "stringData" if is_secret => mask_leaves(inner),
                    // The annotation repeats the object in another form.
                    LAST_APPLIED => *inner = MASK.into(),
                    _ => mask_secrets(inner),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(mask_secrets),
        _ => {}
    }
}

/// Masks the values that overrides write into components that are Secrets.
fn mask_components(value: &mut Value) {
    let secrets: Vec<Value> = value["components"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|component| component["template"]["kind"] == "Secret")
        .map(|component| component["name"].clone())
        .collect();
    if secrets.is_empty() {
        return;
    }
    let rules = value.get_mut("overrides").and_then(Value::as_array_mut).into_iter().flatten();
    let patches = rules.filter_map(|rule| rule.get_mut("patches")?.as_array_mut()).flatten();
    for patch in patches.filter(|patch| secrets.contains(&patch["component"])) {
        let operations = patch.get_mut("jsonPatch").and_then(Value::as_array_mut).into_iter().flatten();
        operations.filter_map(|operation| operation.get_mut("value")).for_each(mask_leaves);
    }
}

fn mask_leaves(value: &mut Value) {
    match value {
        Value::Object(map) => map.values_mut().for_each(mask_leaves),
        Value::Array(items) => items.iter_mut().for_each(mask_leaves),
        Value::Null => {}
        other => *other = MASK.into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn contents_of_secrets_are_masked_wherever_they_stand() {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db"}, "stringData": {"password": "hunter2"}, "data": {"k": "aHVudGVyMg=="}});
        let mut app = json!({
            "kind": "List", "items": [{
                "kind": "Application",
                "metadata": {"annotations": {LAST_APPLIED: format!("{{\"spec\":{secret}}}"), "note": "kept"}},
                "spec": {
                    "components": [
                        {"name": "db", "template": secret},
                        {"name": "config", "template": {"apiVersion": "v1", "kind": "ConfigMap", "data": {"k": "kept too"}}},
                    ],
                    "overrides": [{"cells": {}, "patches": [
                        {"component": "db", "jsonPatch": [{"op": "add", "path": "/stringData/b", "value": "hunter2"}]},
                        {"component": "config", "jsonPatch": [{"op": "add", "path": "/data/b", "value": "kept as well"}]},
                    ]}],
                },
            }],
        });
        mask_secrets(&mut app);
        let text = app.to_string();
        assert!(!text.contains("hunter2") && !text.contains("aHVudGVyMg"), "{text}");
        for kept in ["kept", "kept too", "kept as well", "password", "/stringData/b"] {
            assert!(text.contains(kept), "{kept}: {text}");
        }
    }
}
