//! Compares a live object with the object that would be written.

use k8s_openapi::ByteString;
use serde_json::{Map, Value};

use super::fields::member;
use super::pod::text;
use super::quantity::same_quantity;

/// Returns the paths at which the live object differs from the rendered one.
///
/// Fields that only the live object has do not count. Quantities are compared by value. Lists of maps are compared by
/// mount path or name, and otherwise by position.
pub fn differs(rendered: &Value, live: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let Value::Object(rendered) = rendered else { return vec![".".to_owned()] };
    let secret = rendered.get("kind").is_some_and(|kind| kind == "Secret");
    for (key, value) in rendered {
        let there = live.get(key);
        match key.as_str() {
            // Items of a list response carry neither.
            "apiVersion" | "kind" if there.is_none() => {}
            // Write-only: the server stores it in `data`.
            "stringData" if secret => string_data(value, live.get("data"), &mut found),
            _ => compare(value, there, &Place { path: member(key), key, parent: "" }, &mut found),
        }
    }
    found
}

struct Place<'a> {
    path: String,
    key: &'a str,
    parent: &'a str,
}

/// Fields that API servers omit when they hold the zero value of their type.
const LEFT_OUT: [&str; 14] = [
    "hostNetwork",
    "hostPID",
    "hostIPC",
    "stdin",
    "stdinOnce",
    "tty",
    "readOnly",
    "paused",
    "initialDelaySeconds",
    "minReadySeconds",
    "publishNotReadyAddresses",
    "suspend",
    "hostPort",
    "value",
];

/// Maps whose values are quantities.
const QUANTITIES: [&str; 9] =
    ["requests", "limits", "hard", "overhead", "capacity", "default", "defaultRequest", "min", "max"];

/// Single fields that are quantities.
const QUANTITY: [&str; 3] = ["sizeLimit", "divisor", "averageValue"];

fn compare(rendered: &Value, live: Option<&Value>, place: &Place<'_>, found: &mut Vec<String>) {
    let Some(live) = live.filter(|live| !live.is_null()) else {
        if !absent_is_same(rendered, place.key) {
            found.push(place.path.clone());
        }
        return;
    };
    match (rendered, live) {
        (Value::Object(rendered), Value::Object(live)) => {
            for (key, value) in rendered {
                let inner = Place { path: format!("{}{}", place.path, member(key)), key, parent: place.key };
                compare(value, live.get(key), &inner, found);
            }
        }
        (Value::Array(rendered), Value::Array(live)) => compare_lists(rendered, live, place, found),
        (rendered, live) if same_scalar(rendered, live, place) => {}
        _ => found.push(place.path.clone()),
    }
}

fn absent_is_same(rendered: &Value, key: &str) -> bool {
    match rendered {
        Value::Null => true,
        Value::Object(map) => map.values().all(Value::is_null) && key != "emptyDir",
        Value::Array(items) => items.is_empty(),
        Value::Bool(false) => LEFT_OUT.contains(&key),
        Value::Number(number) => number.as_f64() == Some(0.0) && LEFT_OUT.contains(&key),
        Value::String(text) => text.is_empty() && LEFT_OUT.contains(&key),
        Value::Bool(true) => false,
    }
}

fn same_scalar(rendered: &Value, live: &Value, place: &Place<'_>) -> bool {
    if rendered == live {
        return true;
    }
    if let (Value::Number(a), Value::Number(b)) = (rendered, live) {
        return a.as_f64() == b.as_f64();
    }
    let scalar = |value: &Value| value.is_string() || value.is_number();
    let quantity = QUANTITIES.contains(&place.parent) || QUANTITY.contains(&place.key);
    quantity && scalar(rendered) && scalar(live) && same_quantity(&text(rendered), &text(live))
}

fn compare_lists(rendered: &[Value], live: &[Value], place: &Place<'_>, found: &mut Vec<String>) {
    if let Some(key) = ["mountPath", "name"].into_iter().find(|key| identifies(key, rendered) && identifies(key, live))
    {
        for item in rendered {
            let name = item[key].as_str().unwrap_or_default();
            let inner = Place { path: format!("{}[{key}={name}]", place.path), key: "", parent: place.key };
            compare(item, live.iter().find(|live| live[key] == name), &inner, found);
        }
        return;
    }
    if rendered.len() != live.len() {
        found.push(place.path.clone());
        return;
    }
    for (i, (item, live)) in rendered.iter().zip(live).enumerate() {
        let inner = Place { path: format!("{}[{i}]", place.path), key: "", parent: place.key };
        compare(item, Some(live), &inner, found);
    }
}

/// Whether every item is a map with this key, and no two items have the same value.
fn identifies(key: &str, items: &[Value]) -> bool {
    let values: Option<Vec<&str>> = items.iter().map(|item| item.get(key).and_then(Value::as_str)).collect();
    values.is_some_and(|mut values| {
        values.sort_unstable();
        values.windows(2).all(|pair| pair[0] != pair[1])
    })
}

fn string_data(rendered: &Value, live: Option<&Value>, found: &mut Vec<String>) {
    let empty = Map::new();
    for (key, value) in rendered.as_object().unwrap_or(&empty) {
        let there = live
            .and_then(|data| data.get(key))
            .cloned()
            .and_then(|data| serde_json::from_value::<ByteString>(data).ok());
        if there.map(|bytes| bytes.0).as_deref() != value.as_str().map(str::as_bytes) {
            found.push(format!(".stringData{}", member(key)));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_that_a_server_adds_or_rewrites_do_not_differ() {
        for (case, rendered, live) in [
            ("defaults", json!({ "spec": { "a": 1 } }), json!({ "spec": { "a": 1, "b": 2 }, "status": {} })),
            ("kinds of list items", json!({ "apiVersion": "v1", "kind": "X" }), json!({})),
            (
                "quantities",
                json!({ "r": { "limits": { "cpu": "1000m", "memory": "1Gi" } } }),
                json!({ "r": { "limits": { "cpu": "1", "memory": "1024Mi" } } }),
            ),
            (
                "quantities as numbers",
                json!({ "r": { "requests": { "cpu": 2 } } }),
                json!({ "r": { "requests": { "cpu": "2" } } }),
            ),
            (
                "injected containers",
                json!({ "c": [{ "name": "app" }] }),
                json!({ "c": [{ "name": "proxy" }, { "name": "app" }] }),
            ),
            ("empties left out", json!({ "a": {}, "b": [], "c": null, "hostNetwork": false }), json!({})),
            (
                "one volume mounted twice",
                json!({ "volumeMounts": [{ "name": "v", "mountPath": "/a" }, { "name": "v", "mountPath": "/b" }] }),
                json!({ "volumeMounts": [{ "name": "v", "mountPath": "/b" }, { "name": "v", "mountPath": "/a" }] }),
            ),
            (
                "write-only data",
                json!({ "kind": "Secret", "stringData": { "k": "hello" } }),
                json!({ "kind": "Secret", "data": { "k": "aGVsbG8=" } }),
            ),
        ] {
            assert_eq!(differs(&rendered, &live), Vec::<String>::new(), "{case}");
        }
    }

    #[test]
    fn differences_are_named_by_path() {
        for (rendered, live, path) in [
            (
                json!({ "spec": { "c": [{ "name": "app", "image": "a" }] } }),
                json!({ "spec": { "c": [{ "name": "app", "image": "b" }] } }),
                ".spec.c[name=app].image",
            ),
            (json!({ "spec": { "c": [{ "name": "app" }] } }), json!({ "spec": { "c": [] } }), ".spec.c[name=app]"),
            (json!({ "args": ["a", "b"] }), json!({ "args": ["a"] }), ".args"),
            (json!({ "args": ["a", "b"] }), json!({ "args": ["a", "c"] }), ".args[1]"),
            (
                json!({ "env": [{ "name": "N", "value": "1" }] }),
                json!({ "env": [{ "name": "N", "value": "1.0" }] }),
                ".env[name=N].value",
            ),
            (
                json!({ "r": { "limits": { "cpu": "1" } } }),
                json!({ "r": { "limits": { "cpu": "2" } } }),
                ".r.limits.cpu",
            ),
            (json!({ "automount": false }), json!({}), ".automount"),
            (json!({ "l": { "example.org/a": "x" } }), json!({}), ".l"),
            (json!({ "l": { "example.org/a": "x" } }), json!({ "l": {} }), ".l[example.org/a]"),
            (
                json!({ "kind": "Secret", "stringData": { "k": "x" } }),
                json!({ "data": { "k": "aGVsbG8=" } }),
                ".stringData.k",
            ),
        ] {
            assert_eq!(differs(&rendered, &live), [path], "{rendered} {live}");
        }
    }
}
