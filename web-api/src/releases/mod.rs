//! Releases and rollbacks of one Application.
//!
//! Order of a request: `receive` checks the right and reads the body; `start` or `rollback` says what changes; `edit` changes the Application on the hub; `follow` decides
//! which operation belongs to the change, and waits for it; `answer` builds the response.

mod answer;
mod body;
mod edit;
mod follow;
mod images;
pub(crate) mod list;
mod next;
mod receive;
pub(crate) mod rollback;
pub(crate) mod start;

use ::operations::RELEASE;
use store::OperationRow;
use vocabulary::{AppKey, ContentHash};

/// Returns whether an operation releases a revision of an Application.
fn is_release_of(operation: &OperationRow, app: &AppKey, revision: &ContentHash) -> bool {
    let text = |field: &str| operation.spec.get(field).and_then(|value| value.as_str()).unwrap_or_default();
    operation.kind == RELEASE
        && text("application") == app.to_string()
        && text("revision").parse::<ContentHash>().is_ok_and(|known| known == *revision)
}
