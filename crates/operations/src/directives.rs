//! Directives of operations: written under the claim of the operation, and told to the scheduler.

use std::collections::BTreeSet;

use flow::{ActError, Attempt};
use store::{DirectiveRow, Hint, Hints, NewDirective, Store};
use vocabulary::OperationId;

/// Returns the owner under which an operation writes directives.
pub(crate) fn owner(operation: OperationId) -> String {
    format!("operation/{operation}")
}

/// Writes directives of an operation. A directive replaces the one with its key.
pub(crate) async fn put(
    store: &Store,
    hints: &Hints,
    attempt: &Attempt,
    directives: &[NewDirective],
) -> Result<(), ActError> {
    store.directive_put(&attempt.claim, directives).await?;
    let apps: BTreeSet<_> = directives.iter().map(|directive| directive.app).collect();
    if apps.contains(&None) {
        hints.send(Hint::Directives(None));
    } else {
        for app in apps {
            hints.send(Hint::Directives(app));
        }
    }
    Ok(())
}

/// Ends directives of an operation: those with the given keys, or all.
pub(crate) async fn end(
    store: &Store,
    hints: &Hints,
    attempt: &Attempt,
    keys: Option<&[String]>,
) -> Result<(), ActError> {
    if store.directive_end(&attempt.claim, &owner(attempt.operation), keys).await? > 0 {
        hints.send(Hint::Directives(None));
    }
    Ok(())
}

/// Returns the directives of an operation.
pub(crate) async fn of(store: &Store, operation: OperationId) -> Result<Vec<DirectiveRow>, ActError> {
    Ok(store.directive_list_of(&owner(operation)).await?)
}
