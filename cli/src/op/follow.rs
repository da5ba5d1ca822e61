//! Follows an operation: long polls for its end, and its journal for changes until then.

use std::cell::RefCell;
use std::future::pending;
use std::time::Duration;

use rest::{Client, ClientError, Operation, Waited};
use vocabulary::OperationId;

use super::outcome::is_waiting_for_person;

/// Time over which changes are shown together. An operation may change hundreds of targets at once.
const CHANGES_TOGETHER: Duration = Duration::from_millis(500);

/// Why following an operation ended.
#[derive(Debug)]
pub(super) enum Followed {
    /// The operation is over, or a person has to act.
    Waited(Waited),
    /// The user pressed Ctrl-C.
    Interrupted,
}

/// Follows an operation until it is over, and shows each change. With `stop_on_pause`, ends where a person has to act.
pub(super) async fn follow(
    client: &Client,
    id: OperationId,
    limit: Option<Duration>,
    stop_on_pause: bool,
    show: impl FnMut(&Operation),
) -> Result<Followed, ClientError> {
    let show = RefCell::new(show);
    let is_enough = |seen: &Operation| {
        (show.borrow_mut())(seen);
        seen.done || stop_on_pause && is_waiting_for_person(seen)
    };
    tokio::select! {
        waited = client.wait_for_operation(id, limit, &is_enough) => waited.map(Followed::Waited),
        ended = changes(client, id, &is_enough) => Ok(Followed::Waited(Waited::Ended(Box::new(ended)))),
        _ = tokio::signal::ctrl_c() => Ok(Followed::Interrupted),
    }
}

/// Reads an operation after each change that its journal records, until `is_enough` returns true.
///
/// Waits forever where the journal cannot be read. The long poll notices the end then.
async fn changes(client: &Client, id: OperationId, is_enough: impl Fn(&Operation) -> bool) -> Operation {
    let Ok(first) = client.operation(id).await else { return pending().await };
    let mut events = client.operation_events(id, first.journal_seq);
    loop {
        match events.next().await {
            Ok(Some(_)) => {}
            Err(ClientError::Unreachable { .. }) => continue,
            Ok(None) | Err(_) => return pending().await,
        }
        // Further events of the same moment need no read of their own.
        let together = async { while let Ok(Some(_)) = events.next().await {} };
        let _ = tokio::time::timeout(CHANGES_TOGETHER, together).await;
        if let Ok(operation) = client.operation(id).await
            && is_enough(&operation)
        {
            return operation;
        }
    }
}
