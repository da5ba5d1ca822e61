//! Creates operations: checks a request, plans it, and stores it once.

use domain::operation::{Entry, EntryKind, State};
use jiff::Timestamp;
use serde_json::{Value, json};
use store::{
    Hint, Hints, IdempotencyKey, LockHolder, NewOperation, OperationInserted, OperationRow, Store, StoreError,
};
use vocabulary::OperationId;

use crate::kind::{Kinds, PlanFailure, Planned};
use crate::stored::{journal_entry, lock_rows};

/// Maximum length of a reason, in characters.
const REASON_MAX: usize = 4_096;

/// A request for an operation.
#[derive(Debug, Clone)]
pub struct Request {
    /// Identity; derived from its cause where the request may be repeated, generated otherwise.
    pub id: OperationId,
    /// Name of the kind.
    pub kind: String,
    /// The kind's own part.
    pub spec: Value,
    /// Person or machine identity.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// The operation begins by itself, and not by `start`.
    pub starts: bool,
    /// Key by which a repeated request is recognized.
    pub key: Option<IdempotencyKey>,
}

/// An operation that a request created, now or before.
#[derive(Debug, Clone)]
pub struct Created {
    /// The operation.
    pub operation: OperationRow,
    /// An earlier request with the same key created it.
    pub is_replay: bool,
}

/// Why no operation was created.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The kind does not exist.
    #[error("there is no kind {kind}; there are {known}")]
    NoSuchKind {
        /// The kind asked for.
        kind: String,
        /// All kinds, for people.
        known: String,
    },
    /// The request cannot be planned.
    #[error(transparent)]
    Plan(#[from] PlanFailure),
    /// The kind made a plan that breaks the rules for plans.
    #[error("the plan is not valid: {0}")]
    Defect(#[from] domain::operation::PlanError),
    /// Operations of the same or a higher priority hold the locks.
    #[error("{}", locked(.0))]
    Locked(Vec<LockHolder>),
    /// The key was used for another request.
    #[error("the idempotency key was used for another request, which created operation {0}; use a new key")]
    KeyReused(OperationId),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn locked(holders: &[LockHolder]) -> String {
    let Some(first) = holders.first() else { return "locks are held".to_owned() };
    format!(
        "{} is locked by {} of {} (operation {}, started by {} at {}); wait for it with `meridian op wait {}`, or cancel it",
        first.key, first.kind, first.subject, first.operation, first.actor, first.since, first.operation
    )
}

/// Plans a request without creating an operation.
///
/// # Errors
/// [`CreateError`] as for [`create`], without locks and keys.
pub async fn preview(kinds: &Kinds, kind: &str, spec: &Value) -> Result<Planned, CreateError> {
    let known = kinds.get(kind).ok_or_else(|| CreateError::NoSuchKind {
        kind: kind.to_owned(),
        known: kinds.names().collect::<Vec<_>>().join(", "),
    })?;
    let planned = known.plan(spec).await?;
    planned.plan.check()?;
    Ok(planned)
}

/// Creates an operation, or returns the one that the same request created before.
///
/// # Errors
/// [`CreateError`]; nothing was created, except that a [`StoreError::Unknown`] leaves it open: the same request again
/// gives the result.
pub async fn create(store: &Store, hints: &Hints, kinds: &Kinds, request: Request) -> Result<Created, CreateError> {
    // A repeated request gets its answer whatever changed since: its plan is not made anew.
    if let Some(key) = &request.key
        && let Some(known) = store.operation_by_key(key).await?
    {
        return if known.body_hash == key.body_hash {
            Ok(Created { operation: known.operation, is_replay: true })
        } else {
            Err(CreateError::KeyReused(known.operation.id))
        };
    }
    let planned = preview(kinds, &request.kind, &request.spec).await?;
    let kind = kinds.get(&request.kind).expect("preview found it");
    let now = Timestamp::now();
    let state = match (request.starts, planned.plan.approvals) {
        (false, _) => State::Pending,
        (true, 0) => State::AwaitingLocks,
        (true, _) => State::AwaitingApproval,
    };
    let reason: String = request.reason.chars().take(REASON_MAX).collect();
    let entry = Entry {
        kind: EntryKind::Created,
        key: None,
        attempt: None,
        body: json!({"kind": request.kind, "spec": request.spec, "plan": planned.plan, "reason": reason}),
        actor: request.actor.clone(),
        at: now,
    };
    let new = NewOperation {
        id: request.id,
        kind: request.kind,
        logic_version: kind.logic_version(),
        priority: kind.priority() as i16,
        subject: planned.subject,
        spec: request.spec,
        plan: serde_json::to_value(&planned.plan).expect("a plan is plain data"),
        locks: lock_rows(&planned.locks),
        state: state.as_str(),
        actor: request.actor,
        reason,
        entry: journal_entry(entry),
    };
    let (id, is_replay) = match store.operation_insert(&new, request.key.as_ref()).await? {
        OperationInserted::Created => (new.id, false),
        OperationInserted::Existing(id) => (id, true),
        OperationInserted::KeyReused(id) => return Err(CreateError::KeyReused(id)),
        OperationInserted::Locked(holders) => return Err(CreateError::Locked(holders)),
    };
    hints.send(Hint::Operation(id));
    let operation = store.operation_get(id).await?.ok_or_else(|| StoreError::unreadable("the operation vanished"))?;
    Ok(Created { operation, is_replay })
}
