//! The fields we own, by the member's own bookkeeping.

use serde::Serialize;
use serde_json::{Map, Value};
use vocabulary::{ContentHash, FIELD_MANAGER};

/// The set of fields our manager applied to the main resource, as `fieldsV1`.
pub fn our_fields(object: &Value) -> Option<&Value> {
    object
        .get("metadata")?
        .get("managedFields")?
        .as_array()?
        .iter()
        .find(|entry| {
            entry["manager"] == FIELD_MANAGER
                && entry["operation"] == "Apply"
                && entry.get("subresource").and_then(Value::as_str).is_none_or(str::is_empty)
        })?
        .get("fieldsV1")
}

/// Hash of a set of fields; independent of order.
pub fn fields_hash(fields: &Value) -> ContentHash {
    canonical_hash(fields)
}

/// Hash of a value with the keys of every map sorted.
pub(super) fn canonical_hash(value: &Value) -> ContentHash {
    let mut text = Vec::new();
    write_sorted(value, &mut text);
    ContentHash::of(&text)
}

fn write_sorted(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(&String, &Value)> = map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            out.push(b'{');
            for (i, (key, value)) in entries.into_iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write_plain(key, out);
                out.push(b':');
                write_sorted(value, out);
            }
            out.push(b'}');
        }
        Value::Array(items) => {
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write_sorted(item, out);
            }
            out.push(b']');
        }
        scalar => write_plain(scalar, out),
    }
}

fn write_plain(value: &(impl Serialize + ?Sized), out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("a string, a number, a boolean and null are JSON, and memory takes them");
}

/// Fields that were ours after the last apply and are not ours now, as paths for people; a lost map or list
/// item is named once, without what is in it. Sorted.
pub fn lost_fields(applied: &Value, now: Option<&Value>) -> Vec<String> {
    let mut lost = Vec::new();
    if let Value::Object(applied) = applied {
        walk(applied, now.and_then(Value::as_object), "", &mut lost);
    }
    lost.sort();
    lost
}

fn walk(applied: &Map<String, Value>, now: Option<&Map<String, Value>>, path: &str, lost: &mut Vec<String>) {
    for (key, inner) in applied.iter().filter(|(key, _)| *key != ".") {
        let here = format!("{path}{}", segment(key));
        match now.and_then(|now| now.get(key)) {
            None => lost.push(here),
            Some(now) => {
                if let Value::Object(inner) = inner {
                    walk(inner, now.as_object(), &here, lost);
                }
            }
        }
    }
}

/// One key of `fieldsV1` as people write it.
fn segment(key: &str) -> String {
    match key.split_once(':') {
        Some(("f", name)) => member(name),
        Some(("k", keys)) => match serde_json::from_str::<Map<String, Value>>(keys) {
            Ok(keys) => {
                let pairs: Vec<String> =
                    keys.iter().map(|(key, value)| format!("{key}={}", super::pod::text(value))).collect();
                format!("[{}]", pairs.join(","))
            }
            Err(_) => format!("[{keys}]"),
        },
        Some(("v" | "i", value)) => format!("[{value}]"),
        _ => format!(".{key}"),
    }
}

/// A member of a map: `.image`, or `[example.org/owner]` where the key holds more than a field's name does.
pub(super) fn member(name: &str) -> String {
    let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if plain { format!(".{name}") } else { format!("[{name}]") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_our_own_applies_count() {
        let ours = json!({ "f:spec": {} });
        let entry = |manager: &str, operation: &str, subresource: Option<&str>| {
            let mut entry = json!({ "manager": manager, "operation": operation, "fieldsV1": { "f:spec": {} } });
            if let Some(subresource) = subresource {
                entry["subresource"] = json!(subresource);
            }
            json!({ "metadata": { "managedFields": [entry] } })
        };
        assert_eq!(our_fields(&entry("meridian", "Apply", None)), Some(&ours));
        for other in [
            entry("kubectl", "Apply", None),
            entry("meridian", "Update", None),
            entry("meridian", "Apply", Some("status")),
            json!({}),
        ] {
            assert_eq!(our_fields(&other), None);
        }
    }

    #[test]
    fn the_hash_does_not_depend_on_order() {
        let a: Value = serde_json::from_str(r#"{"f:a":{"f:c":{},"f:b":{}},"f:d":{}}"#).unwrap();
        let b: Value = serde_json::from_str(r#"{"f:d":{},"f:a":{"f:b":{},"f:c":{}}}"#).unwrap();
        let c: Value = serde_json::from_str(r#"{"f:d":{},"f:a":{"f:b":{}}}"#).unwrap();
        assert_eq!(fields_hash(&a), fields_hash(&b));
        assert_ne!(fields_hash(&a), fields_hash(&c));
    }

    #[test]
    fn lost_fields_are_named_as_people_write_them() {
        let applied = json!({
            "f:metadata": { "f:labels": { "f:example.org/tier": {}, "f:app": {} } },
            "f:spec": { "f:replicas": {}, "f:template": { "f:spec": { "f:containers": {
                "k:{\"name\":\"app\"}": { ".": {}, "f:image": {}, "f:ports": {
                    "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": { ".": {} } } },
            } } }, "f:finalizers": { "v:\"x\"": {} } },
        });
        let now = json!({
            "f:metadata": { "f:labels": { "f:app": {} } },
            "f:spec": { "f:template": { "f:spec": { "f:containers": {
                "k:{\"name\":\"app\"}": { "f:ports": {} } } } }, "f:finalizers": {} },
        });
        let expected = [
            ".metadata.labels[example.org/tier]",
            ".spec.finalizers[\"x\"]",
            ".spec.replicas",
            ".spec.template.spec.containers[name=app].image",
            ".spec.template.spec.containers[name=app].ports[containerPort=80,protocol=TCP]",
        ];
        assert_eq!(lost_fields(&applied, Some(&now)), expected);
        assert_eq!(lost_fields(&applied, None), [".metadata", ".spec"]);
        assert!(lost_fields(&applied, Some(&applied)).is_empty());
    }
}
