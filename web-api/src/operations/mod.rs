//! Operations: created, listed, read, controlled, followed.

pub(crate) mod control;
pub(crate) mod create;
pub(crate) mod events;
pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod verification;
mod view;

use std::str::FromStr;

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
    let application = || Some(spec.get("application")?.as_str()?.split_once('/')?.0);
    (kind == "release").then(application).flatten()
}
