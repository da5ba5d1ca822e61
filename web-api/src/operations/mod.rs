//! Operations: created, listed, read, controlled, followed.

pub(crate) mod control;
pub(crate) mod create;
pub(crate) mod events;
pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod verification;
mod view;

use std::str::FromStr;

use ::operations::RELEASE;
use vocabulary::OperationId;

use crate::code::Code;
use crate::failure::Failure;

/// Parses the id of an operation in a path. Something else is the id of no operation.
fn id_of(text: &str) -> Result<OperationId, Failure> {
    OperationId::from_str(text)
        .map_err(|_| Failure::new(Code::NotFound, format!("operation {text} does not exist: ids are UUIDs")))
}

/// Returns the namespace in which a right for an operation must count; `None` for everywhere.
///
/// Only kinds that change one Application alone have one.
fn namespace_of<'a>(kind: &str, spec: &'a serde_json::Value) -> Option<&'a str> {
    let application = spec.get("application").filter(|_| kind == RELEASE)?.as_str()?;
    application.split_once('/').map(|(namespace, _)| namespace).filter(|namespace| !namespace.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn release_rights_count_in_the_namespace_of_the_app() {
        for (case, kind, spec, expected) in [
            ("a release", "release", json!({"application": "shop/web"}), Some("shop")),
            ("no namespace", "release", json!({"application": "web"}), None),
            ("an empty one", "release", json!({"application": "/web"}), None),
            ("no text", "release", json!({"application": 7}), None),
            ("another kind", "drain", json!({"application": "shop/web", "cluster": "east"}), None),
        ] {
            assert_eq!(namespace_of(kind, &spec), expected, "{case}");
        }
    }
}
