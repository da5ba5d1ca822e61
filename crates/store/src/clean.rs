//! Removes NUL from text and JSON that members send. Pure.
//!
//! `PostgreSQL` stores no NUL, neither in text nor in JSON, and a member may send any text.

use serde_json::Value;

/// Returns the text without NUL.
pub(crate) fn text(text: &str) -> String {
    text.replace('\0', "")
}

/// Returns the value without NUL in any of its texts and keys.
pub(crate) fn json(value: &Value) -> Value {
    match value {
        Value::String(content) => Value::String(text(content)),
        Value::Array(items) => items.iter().map(json).collect(),
        Value::Object(fields) => fields.iter().map(|(key, value)| (text(key), json(value))).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json as value;

    use super::*;

    #[test]
    fn nul_is_dropped_wherever_it_stands() {
        let dirty = value!({"a\0b": ["c\0", 1, {"d": "\0e"}], "f": null});
        assert_eq!(json(&dirty), value!({"ab": ["c", 1, {"d": "e"}], "f": null}));
    }
}
