//! Applies a person's verb to a stored operation, in any process.

use domain::operation::{Control, ControlRefusal, Run, State, control as apply};
use jiff::Timestamp;
use store::{Hint, Hints, IdempotencyKey, LockChange, OperationChange, OperationCommitted, OperationRow, Store};
use vocabulary::OperationId;

use crate::stored::{LoadError, change, load};

/// Number of times that a verb is applied again because the operation changed meanwhile.
const ATTEMPTS: usize = 20;

/// A verb for an operation.
#[derive(Debug, Clone)]
pub struct ControlRequest {
    /// The operation.
    pub operation: OperationId,
    /// What is asked.
    pub control: Control,
    /// Key by which a repeated request is recognized.
    pub key: Option<IdempotencyKey>,
}

/// Why a verb was not applied.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// It does not fit the operation.
    #[error(transparent)]
    Refused(#[from] ControlRefusal),
    /// The operation cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The key was used for another request.
    #[error("the idempotency key was used for another request about operation {0}; use a new key")]
    KeyReused(OperationId),
    /// The operation changed all the time.
    #[error("the operation changes all the time; try again")]
    Busy,
}

/// Applies a verb, once for each key. Returns the operation as it is afterwards.
///
/// # Errors
/// [`ControlError`]. Nothing was changed, except that a [`LoadError::Store`] leaves it open: the same request with the same
/// key gives the result.
pub async fn control(store: &Store, hints: &Hints, request: &ControlRequest) -> Result<OperationRow, ControlError> {
    for _ in 0..ATTEMPTS {
        if let Some(key) = &request.key
            && let Some(known) = store.operation_by_key(key).await.map_err(LoadError::Store)?
        {
            let is_same = known.body_hash == key.body_hash && known.operation.id == request.operation;
            return if is_same { Ok(known.operation) } else { Err(ControlError::KeyReused(known.operation.id)) };
        }
        let (row, before) = load(store, request.operation).await?;
        let mut after = before.clone();
        let entries = apply(&mut after, &request.control, Timestamp::now())?;
        if after == before {
            return Ok(row);
        }
        let locks = locks_of(&after);
        let change = OperationChange { key: request.key.clone(), ..change(&before, &after, entries, locks) };
        let written = store.operation_commit(None, request.operation, before.version, &change).await;
        match written.map_err(LoadError::Store)? {
            OperationCommitted::Written(_) => {
                hints.send(Hint::Operation(request.operation));
                let row = store.operation_get(request.operation).await.map_err(LoadError::Store)?;
                return Ok(row.ok_or(LoadError::NotFound(request.operation))?);
            }
            OperationCommitted::Outdated | OperationCommitted::Locked(_) => {}
        }
    }
    Err(ControlError::Busy)
}

/// Locks are given back when an operation is over, or waits until it may have them.
pub(crate) fn locks_of(after: &Run) -> LockChange {
    let preempted = after.state == State::AwaitingLocks && after.pause.is_some();
    if after.state.is_terminal() || preempted { LockChange::Release } else { LockChange::Keep }
}
