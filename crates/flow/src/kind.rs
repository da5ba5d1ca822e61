//! A kind of operation: how it is planned, and how its steps act and observe.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use domain::operation::{LockRequest, Plan, Priority, Step};
use futures::future::BoxFuture;
use serde_json::Value;
use store::{Claim, Hint, StoreError};
use uuid::Uuid;
use vocabulary::{OperationId, Verdict};

/// A kind of operation.
///
/// # Contract
/// - Steps change the fleet only through the store's directives, or through targets that check a fence or the
///   idempotency key, as the step's effect class promises. `flow::testing` checks this.
/// - `act` ends within ten seconds. Everything that takes longer is awaited in `observe`.
pub trait Kind: Debug + Send + Sync + 'static {
    /// Name of the kind, as in requests.
    fn name(&self) -> &'static str;

    /// Version of the logic with which new operations are planned. Raised when a running plan would be misread.
    fn logic_version(&self) -> i32 {
        1
    }

    /// Returns whether this program can run a plan of this version. A kind that changes its plans supports the version before as well.
    fn supports(&self, logic_version: i32) -> bool {
        logic_version == self.logic_version()
    }

    /// Priority for locks.
    fn priority(&self) -> Priority;

    /// Checks a request and plans it. Nothing is written.
    fn plan<'a>(&'a self, spec: &'a Value) -> BoxFuture<'a, Result<Planned, PlanFailure>>;

    /// Carries out one step for one target. Repeated as the step's effect class permits.
    fn act<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Result<(), ActError>>;

    /// Looks whether the effect is there.
    fn observe<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Result<Progress, ActError>>;

    /// Evaluates a check of a step.
    fn check<'a>(&'a self, check: &'a str, _context: &'a CheckContext) -> BoxFuture<'a, (Verdict, String)> {
        let message = format!("this version has no check {check}");
        Box::pin(std::future::ready((Verdict::Unknown, message)))
    }

    /// Returns whether a hint may change what `observe` returns for an operation with this plan.
    fn is_woken_by(&self, hint: &Hint, _plan: &Plan) -> bool {
        matches!(hint, Hint::Observed(_) | Hint::Show(_) | Hint::Topology | Hint::Health(_) | Hint::Everything)
    }

    /// Place around each commit of an operation's owner, for tests.
    #[cfg(feature = "testing")]
    fn commit_hook(&self) -> Option<Arc<dyn crate::testing::CommitHook>> {
        None
    }
}

/// A request that was checked and planned.
#[derive(Debug, Clone)]
pub struct Planned {
    /// What the operation changes, for people: `cluster east`.
    pub subject: String,
    /// The steps.
    pub plan: Plan,
    /// Locks that it needs while it runs.
    pub locks: Vec<LockRequest>,
    /// What a person sees before it starts: what moves, what blocks.
    pub preview: Value,
}

/// Why a request cannot be planned.
#[derive(Debug, thiserror::Error)]
pub enum PlanFailure {
    /// A field of the request is wrong.
    #[error("{pointer}: {problem}")]
    Invalid {
        /// JSON pointer to the field.
        pointer: String,
        /// Problem and remedy.
        problem: String,
    },
    /// What the request names does not exist.
    #[error("{0}")]
    NotFound(String),
    /// The request does not fit the present state.
    #[error("{0}")]
    Conflict(String),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl PlanFailure {
    /// Returns the failure of one field.
    pub fn invalid(pointer: &str, problem: impl Into<String>) -> Self {
        Self::Invalid { pointer: pointer.to_owned(), problem: problem.into() }
    }
}

/// One attempt: a step on one target.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The operation.
    pub operation: OperationId,
    /// Person or machine identity that created the operation.
    pub actor: String,
    /// The request of the operation.
    pub spec: Value,
    /// The step.
    pub step: Step,
    /// The target.
    pub target: String,
    /// Key by which a target recognizes a repetition.
    pub key: Uuid,
    /// Claim under which writes to the store are made.
    pub claim: Claim,
}

/// What a check is about.
#[derive(Debug, Clone)]
pub struct CheckContext {
    /// The operation.
    pub operation: OperationId,
    /// The request of the operation.
    pub spec: Value,
    /// The step.
    pub step: Step,
    /// The target; `None` for checks before an act.
    pub target: Option<String>,
}

/// What `observe` found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// The effect is there.
    Done(String),
    /// The effect is not there yet.
    Waiting(String),
    /// The effect certainly is not there, and will not come without another act.
    Missing(String),
    /// The step failed for good.
    Failed(String),
}

/// Why an act or an observation failed.
#[derive(Debug, thiserror::Error)]
pub enum ActError {
    /// Nothing was changed, and another attempt may succeed.
    #[error("{0}")]
    Failed(String),
    /// Nothing was changed, and no other attempt helps.
    #[error("{0}")]
    Refused(String),
    /// It is not known whether something was changed.
    #[error("{0}")]
    Unknown(String),
    /// The claim no longer holds: another process owns the operation.
    #[error("the operation has another owner")]
    Fenced,
}

impl From<StoreError> for ActError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Fenced { .. } => Self::Fenced,
            StoreError::Unknown { .. } => Self::Unknown(vocabulary::chain(&error)),
            StoreError::Corrupt { .. } | StoreError::Refused(_) => Self::Refused(vocabulary::chain(&error)),
            _ => Self::Failed(vocabulary::chain(&error)),
        }
    }
}

/// The kinds of operations that a program supports.
#[derive(Debug, Clone, Default)]
pub struct Kinds(Arc<BTreeMap<&'static str, Arc<dyn Kind>>>);

impl Kinds {
    /// Collects kinds.
    pub fn new(kinds: impl IntoIterator<Item = Arc<dyn Kind>>) -> Self {
        Self(Arc::new(kinds.into_iter().map(|kind| (kind.name(), kind)).collect()))
    }

    /// Returns the kind with this name.
    pub fn get(&self, name: &str) -> Option<&Arc<dyn Kind>> {
        self.0.get(name)
    }

    /// Returns the names of all kinds.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.keys().copied()
    }
}
