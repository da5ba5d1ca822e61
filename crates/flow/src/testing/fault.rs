//! Faults of an owner: where it dies, freezes, or gets a wrong answer.

use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use domain::operation::{Plan, Priority};
use futures::future::BoxFuture;
use runtime::crash::Side;
use serde_json::Value;
use store::{Hint, Keeper};
use tokio_util::sync::CancellationToken;
use vocabulary::Verdict;

use super::{CommitHook, LEASE};
use crate::kind::{ActError, Attempt, CheckContext, Kind, PlanFailure, Planned, Progress};

/// Fault at the commit or act with this number, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Everything works.
    None,
    /// The owner dies beside a commit.
    DiesAtCommit(usize, Side),
    /// The owner dies beside an act.
    DiesAtAct(usize, Side),
    /// The owner freezes before a commit until others own the operation, and goes on.
    FreezesAtCommit(usize),
    /// The act does nothing and says so.
    ActFails(usize),
    /// The answer of the act is lost, before or after it took effect.
    ActUnknown(usize, Side),
    /// The act arrives twice.
    ActRepeated(usize),
}

/// Counts commits and acts of one owner, and lets its fault happen.
#[derive(Debug)]
pub(super) struct Injector {
    fault: Fault,
    pub(super) commits: AtomicUsize,
    pub(super) acts: AtomicUsize,
    /// Cancelled when the owner is to die.
    pub(super) dies: CancellationToken,
    pub(super) was_frozen: AtomicBool,
    /// Keeper and lease that a frozen owner does not renew.
    lease: OnceLock<(Arc<Keeper>, String)>,
}

impl Injector {
    pub(super) fn new(fault: Fault) -> Arc<Self> {
        Arc::new(Self {
            fault,
            commits: AtomicUsize::new(0),
            acts: AtomicUsize::new(0),
            dies: CancellationToken::new(),
            was_frozen: AtomicBool::new(false),
            lease: OnceLock::new(),
        })
    }

    /// Names the lease of the owner.
    pub(super) fn holds(&self, keeper: Arc<Keeper>, lease: String) {
        let _ = self.lease.set((keeper, lease));
    }

    async fn die_if(&self, fault: Fault) {
        if self.fault == fault {
            self.dies.cancel();
            std::future::pending::<()>().await;
        }
    }

    async fn freeze(&self) {
        self.was_frozen.store(true, Ordering::Release);
        if let Some((keeper, lease)) = self.lease.get() {
            keeper.leave(lease);
        }
        // The time is the fault: there is no condition to wait for.
        tokio::time::sleep(LEASE * 3).await;
    }
}

impl CommitHook for Injector {
    fn reached(&self, side: Side) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let number = match side {
                Side::Before => self.commits.load(Ordering::Acquire),
                Side::After => self.commits.fetch_add(1, Ordering::AcqRel),
            };
            self.die_if(Fault::DiesAtCommit(number, side)).await;
            if side == Side::Before && self.fault == Fault::FreezesAtCommit(number) {
                self.freeze().await;
            }
        })
    }
}

/// A kind whose acts have faults.
#[derive(Debug)]
pub(super) struct FaultyKind {
    /// Distinguishes runs that share a database.
    pub(super) name: &'static str,
    pub(super) kind: Arc<dyn Kind>,
    pub(super) injector: Arc<Injector>,
}

impl FaultyKind {
    async fn act_with_fault(&self, attempt: &Attempt) -> Result<(), ActError> {
        let injector = &self.injector;
        let number = injector.acts.fetch_add(1, Ordering::AcqRel);
        injector.die_if(Fault::DiesAtAct(number, Side::Before)).await;
        match injector.fault {
            Fault::ActFails(at) if at == number => return Err(ActError::Failed("injected".to_owned())),
            Fault::ActUnknown(at, Side::Before) if at == number => {
                return Err(ActError::Unknown("injected".to_owned()));
            }
            Fault::ActRepeated(at) if at == number => self.kind.act(attempt).await?,
            _ => {}
        }
        let acted = self.kind.act(attempt).await;
        injector.die_if(Fault::DiesAtAct(number, Side::After)).await;
        if injector.fault == Fault::ActUnknown(number, Side::After) {
            return Err(ActError::Unknown("injected".to_owned()));
        }
        acted
    }
}

impl Kind for FaultyKind {
    fn name(&self) -> &'static str {
        self.name
    }

    fn logic_version(&self) -> i32 {
        self.kind.logic_version()
    }

    fn supports(&self, logic_version: i32) -> bool {
        self.kind.supports(logic_version)
    }

    fn priority(&self) -> Priority {
        self.kind.priority()
    }

    fn plan<'a>(&'a self, spec: &'a Value) -> BoxFuture<'a, Result<Planned, PlanFailure>> {
        // Runs share a database, and their locks would make them wait for each other.
        Box::pin(async move { Ok(Planned { locks: Vec::new(), ..self.kind.plan(spec).await? }) })
    }

    fn act<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Result<(), ActError>> {
        Box::pin(self.act_with_fault(attempt))
    }

    fn observe<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Result<Progress, ActError>> {
        self.kind.observe(attempt)
    }

    fn check<'a>(&'a self, check: &'a str, context: &'a CheckContext) -> BoxFuture<'a, (Verdict, String)> {
        self.kind.check(check, context)
    }

    fn is_woken_by(&self, hint: &Hint, plan: &Plan) -> bool {
        self.kind.is_woken_by(hint, plan)
    }

    fn commit_hook(&self) -> Option<Arc<dyn CommitHook>> {
        Some(Arc::clone(&self.injector) as Arc<dyn CommitHook>)
    }
}
