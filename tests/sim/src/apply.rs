//! Server-side apply for a single field manager, and merge patches. Pure.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

/// Applies the configuration `new` to the object `live`; `old` is the last applied configuration.
///
/// Fields that only `old` names are dropped, fields that `new` names are set, and all other fields stay. Lists are
/// replaced as a whole.
pub(crate) fn apply(live: &mut Value, old: &Value, new: &Value) {
    let (Value::Object(map), Value::Object(fields)) = (&mut *live, new) else {
        live.clone_from(new);
        return;
    };
    if let Value::Object(before) = old {
        for (key, was) in before {
            let is_map = was.is_object() && fields.get(key).is_none_or(Value::is_object);
            match (fields.get(key), is_map) {
                (Some(_), _) => {}
                (None, true) => {
                    if let Some(inner) = map.get_mut(key) {
                        apply(inner, was, &json!({}));
                        if inner.as_object().is_some_and(Map::is_empty) {
                            map.remove(key);
                        }
                    }
                }
                (None, false) => {
                    map.remove(key);
                }
            }
        }
    }
    for (key, value) in fields {
        apply(map.entry(key.clone()).or_insert(Value::Null), &old[key.as_str()], value);
    }
}

/// Applies a JSON merge patch (RFC 7386).
pub(crate) fn merge(live: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        live.clone_from(patch);
        return;
    };
    if !live.is_object() {
        *live = json!({});
    }
    let Value::Object(map) = live else { return };
    for (key, value) in changes {
        if value.is_null() {
            map.remove(key);
        } else {
            merge(map.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

/// Returns the set of fields that an applied configuration names, in the form of `managedFields`.
pub(crate) fn fields(applied: &Value) -> Value {
    let identity: BTreeSet<&str> = ["apiVersion", "kind"].into();
    let named = ["name", "namespace", "uid", "resourceVersion"];
    let mut set = Map::new();
    for (key, value) in applied.as_object().into_iter().flatten() {
        if identity.contains(key.as_str()) {
            continue;
        }
        let mut inner = below(value);
        if key == "metadata"
            && let Value::Object(metadata) = &mut inner
        {
            for name in named {
                metadata.remove(&format!("f:{name}"));
            }
        }
        set.insert(format!("f:{key}"), inner);
    }
    Value::Object(set)
}

fn below(value: &Value) -> Value {
    match value {
        Value::Object(map) => map.iter().map(|(key, value)| (format!("f:{key}"), below(value))).collect(),
        Value::Array(items) if !items.is_empty() && items.iter().all(|item| item["name"].is_string()) => {
            let key = |item: &Value| format!("k:{}", json!({ "name": item["name"] }));
            items.iter().map(|item| (key(item), below(item))).collect()
        }
        _ => json!({}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apply_drops_unnamed_fields_and_keeps_those_of_others() {
        let old = json!({"metadata": {"labels": {"a": "1", "b": "2"}}, "spec": {"replicas": 3, "list": [1, 2]}});
        let mut live = json!({"metadata": {"labels": {"a": "1", "b": "2", "foreign": "x"}, "uid": "u"},
                              "spec": {"replicas": 3, "list": [1, 2], "defaulted": true}});
        let new = json!({"metadata": {"labels": {"a": "9"}}, "spec": {"list": [3]}});
        apply(&mut live, &old, &new);
        assert_eq!(
            live,
            json!({"metadata": {"labels": {"a": "9", "foreign": "x"}, "uid": "u"}, "spec": {"list": [3], "defaulted": true}})
        );
    }

    #[test]
    fn a_merge_patch_removes_what_is_null() {
        let mut live = json!({"a": {"b": 1, "c": 2}});
        merge(&mut live, &json!({"a": {"b": null, "d": 3}}));
        assert_eq!(live, json!({"a": {"c": 2, "d": 3}}));
    }

    #[test]
    fn owned_fields_are_named_by_path_and_by_name_in_lists() {
        let applied = json!({"apiVersion": "v1", "metadata": {"name": "x", "labels": {"a": "1"}},
                             "spec": {"containers": [{"name": "c", "image": "i"}], "args": ["x"]}});
        assert_eq!(
            fields(&applied),
            json!({"f:metadata": {"f:labels": {"f:a": {}}},
                   "f:spec": {"f:containers": {"k:{\"name\":\"c\"}": {"f:name": {}, "f:image": {}}}, "f:args": {}}})
        );
    }
}
