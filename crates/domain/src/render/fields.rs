//! Reads the fields that Meridian owns from the managed fields that the member records.

use serde::Serialize;
use serde_json::{Map, Value};
use vocabulary::{ContentHash, FIELD_MANAGER};

/// Returns the fields that our manager applied to the main resource, as `fieldsV1`.
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

/// Returns the hash of a set of fields. The order of fields does not matter.
pub fn fields_hash(fields: &Value) -> ContentHash {
    canonical_hash(fields)
}

/// Returns the hash of a value with the keys of every map sorted.
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

/// Returns fields that Meridian owned after the last apply and does not own now, as sorted paths.
///
/// The paths are for people. A lost map or list item is listed once, without its content.
pub fn lost_fields(applied: &Value, now: Option<&Value>) -> Vec<String> {
    let mut lost = Vec::new();
    if let Value::Object(applied) = applied {
        walk(applied, now.and_then(Value::as_object), "", &mut lost);
    }
    lost.sort();
    lost
}

/// Maps to which the API server adds no entries by itself.
const FREE_MAPS: [&str; 9] = [
    ".labels",
    ".annotations",
    ".data",
    ".binaryData",
    ".stringData",
    ".matchLabels",
    ".nodeSelector",
    ".requests",
    ".limits",
];

/// Returns fields of other owners that Meridian does not own and that only a person can have added.
///
/// These are items of lists and entries of free maps, as paths for people. Single fields do not count, because
/// defaults belong to the owner that created the object.
pub fn extra_fields(theirs: &Value, ours: Option<&Value>) -> Vec<String> {
    let mut extra = lost_fields(theirs, ours);
    extra.retain(|path| {
        let in_free_map = |(parent, _): (&str, &str)| FREE_MAPS.iter().any(|map| parent.ends_with(map));
        let is_item = path.ends_with(']') && !path.ends_with("[kubectl.kubernetes.io/last-applied-configuration]");
        is_item || !path.ends_with(']') && path.rsplit_once('.').is_some_and(in_free_map)
    });
    extra
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

/// Returns one key of `fieldsV1` in readable form.
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

/// Returns the path of a map key: `.image`, or `[example.org/owner]` for a key with other characters.
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
    fn extra_fields_are_items_and_entries_and_no_defaults() {
        let theirs = json!({
            "f:metadata": { "f:annotations": { "f:kubectl.kubernetes.io/last-applied-configuration": {}, "f:note": {} } },
            "f:data": { "f:KEEP": {}, "f:OLD": {}, "f:old.conf": {} },
            "f:spec": { "f:progressDeadlineSeconds": {}, "f:template": { "f:spec": { "f:containers": {
                "k:{\"name\":\"app\"}": { "f:terminationMessagePath": {}, "f:env": {
                    "k:{\"name\":\"OLD\"}": { ".": {}, "f:name": {}, "f:value": {} } } } } } } },
        });
        let ours = json!({
            "f:data": { "f:KEEP": {} }, "f:metadata": { "f:annotations": {} },
            "f:spec": { "f:template": { "f:spec": { "f:containers": { "k:{\"name\":\"app\"}": { "f:env": {} } } } } },
        });
        let expected = [
            ".data.OLD",
            ".data[old.conf]",
            ".metadata.annotations.note",
            ".spec.template.spec.containers[name=app].env[name=OLD]",
        ];
        assert_eq!(extra_fields(&theirs, Some(&ours)), expected);
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
