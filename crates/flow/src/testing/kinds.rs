//! Kinds for tests: one for each effect class, and what they change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::operation::{EffectClass, LockRequest, OnFailure, Plan, Priority, Require, Retry, Step};
use futures::future::BoxFuture;
use serde_json::Value;
use uuid::Uuid;
use vocabulary::Verdict;

use super::World;
use crate::kind::{ActError, Attempt, CheckContext, Kind, PlanFailure, Planned, Progress};

/// Act that gives a target its value.
pub const SET: &str = "set";
/// Act that takes the value away.
pub const UNSET: &str = "unset";
/// Act that is refused.
pub const REFUSE: &str = "refuse";
/// Act that panics.
pub const PANIC: &str = "panic";

/// Targets that have a value or not, in this process.
#[derive(Debug, Default)]
pub struct Targets(Mutex<TargetsState>);

#[derive(Debug, Default)]
struct TargetsState {
    set: BTreeSet<String>,
    goal: BTreeSet<String>,
    effects: BTreeMap<Uuid, usize>,
    /// Highest epoch that acted. Acts of a lower one are refused, as by a fence.
    epoch: i64,
    held: BTreeSet<String>,
    verdict: Option<Verdict>,
    acted: Vec<String>,
}

impl Targets {
    /// Returns targets of which these have a value once the operation is over.
    pub fn with_goal(goal: &[&str]) -> Arc<Self> {
        let targets = Self::default();
        targets.lock().goal = goal.iter().map(|target| (*target).to_owned()).collect();
        Arc::new(targets)
    }

    /// Lets the effect on a target be invisible for now.
    pub fn hold(&self, target: &str) {
        self.lock().held.insert(target.to_owned());
    }

    /// Lets the effect on a target be visible.
    pub fn let_go(&self, target: &str) {
        self.lock().held.remove(target);
    }

    /// Sets the result of every check.
    pub fn set_verdict(&self, verdict: Verdict) {
        self.lock().verdict = Some(verdict);
    }

    /// Returns the targets of all acts so far, in order.
    pub fn acted(&self) -> Vec<String> {
        self.lock().acted.clone()
    }

    fn lock(&self) -> MutexGuard<'_, TargetsState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn act(&self, attempt: &Attempt) -> Result<(), ActError> {
        let mut state = self.lock();
        if attempt.claim.epoch < state.epoch {
            return Err(ActError::Fenced);
        }
        state.epoch = attempt.claim.epoch;
        state.acted.push(attempt.target.clone());
        if attempt.step.act == REFUSE {
            return Err(ActError::Refused("it is not possible".to_owned()));
        }
        let is_done = match attempt.step.class {
            EffectClass::Pure => true,
            EffectClass::Cas => state.set.contains(&attempt.target),
            EffectClass::Tokened => state.effects.contains_key(&attempt.key),
            EffectClass::Absolute | EffectClass::Probe | EffectClass::Opaque => false,
        };
        if !is_done {
            *state.effects.entry(attempt.key).or_default() += 1;
        }
        if attempt.step.act == UNSET {
            state.set.remove(&attempt.target);
        } else {
            state.set.insert(attempt.target.clone());
        }
        Ok(())
    }

    fn observe(&self, attempt: &Attempt) -> Progress {
        let state = self.lock();
        if state.held.contains(&attempt.target) {
            return Progress::Waiting("it is on its way".to_owned());
        }
        let is_set = state.set.contains(&attempt.target);
        if attempt.step.act == REFUSE {
            return Progress::Missing("it is not possible".to_owned());
        }
        if attempt.step.class == EffectClass::Opaque || is_set == (attempt.step.act != UNSET) {
            Progress::Done("it is there".to_owned())
        } else if attempt.step.class == EffectClass::Pure {
            Progress::Waiting("it is awaited".to_owned())
        } else {
            Progress::Missing("it is not there".to_owned())
        }
    }
}

impl World for Targets {
    fn effects(&self) -> BTreeMap<Uuid, usize> {
        self.lock().effects.clone()
    }

    fn is_goal(&self) -> bool {
        let state = self.lock();
        state.set == state.goal
    }
}

/// Returns a step of this act and class: two targets at once, and a person for each failure.
pub fn step(id: &str, act: &str, class: EffectClass, targets: &[&str]) -> Step {
    Step {
        id: id.to_owned(),
        act: act.to_owned(),
        title: format!("{act} {id}"),
        class,
        needs: Vec::new(),
        when: None,
        targets: targets.iter().map(|target| (*target).to_owned()).collect(),
        max_parallel: 2,
        timeout_seconds: 60,
        retry: Retry::default(),
        on_failure: OnFailure::Pause,
        on_timeout: OnFailure::Pause,
        require: Require::All,
        confirm: false,
        pre: Vec::new(),
        post: Vec::new(),
        params: Value::Null,
    }
}

/// A kind with a fixed plan.
#[derive(Debug, Clone)]
pub struct FixedKind {
    /// Name of the kind.
    pub name: &'static str,
    /// Version with which it plans.
    pub logic_version: i32,
    /// The plan.
    pub plan: Plan,
    /// Locks of its operations.
    pub locks: Vec<LockRequest>,
    /// Priority for locks.
    pub priority: Priority,
    /// What it changes.
    pub targets: Arc<Targets>,
}

impl FixedKind {
    /// Returns a kind with these steps, without locks.
    pub fn new(name: &'static str, forward: Vec<Step>, targets: &Arc<Targets>) -> Self {
        Self {
            name,
            logic_version: 1,
            plan: Plan { forward, revert: Vec::new(), approvals: 0 },
            locks: Vec::new(),
            priority: Priority::Release,
            targets: Arc::clone(targets),
        }
    }
}

impl Kind for FixedKind {
    fn name(&self) -> &'static str {
        self.name
    }

    fn logic_version(&self) -> i32 {
        self.logic_version
    }

    fn priority(&self) -> Priority {
        self.priority
    }

    fn plan<'a>(&'a self, _spec: &'a Value) -> BoxFuture<'a, Result<Planned, PlanFailure>> {
        let planned = Planned {
            subject: format!("targets of {}", self.name),
            plan: self.plan.clone(),
            locks: self.locks.clone(),
            preview: Value::Null,
        };
        Box::pin(std::future::ready(Ok(planned)))
    }

    fn act<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Result<(), ActError>> {
        assert_ne!(attempt.step.act, PANIC, "a kind that panics");
        Box::pin(std::future::ready(self.targets.act(attempt)))
    }

    fn observe<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Result<Progress, ActError>> {
        Box::pin(std::future::ready(Ok(self.targets.observe(attempt))))
    }

    fn check<'a>(&'a self, _check: &'a str, _context: &'a CheckContext) -> BoxFuture<'a, (Verdict, String)> {
        let verdict = self.targets.lock().verdict.unwrap_or(Verdict::Pass);
        Box::pin(std::future::ready((verdict, "as the test wants".to_owned())))
    }
}
