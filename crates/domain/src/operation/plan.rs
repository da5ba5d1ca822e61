//! Plans: the steps of an operation, their order and what happens when one fails.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::effect::EffectClass;

/// Maximum number of steps in a plan.
const STEPS_MAX: usize = 500;
/// Maximum number of targets over all steps of a plan.
const TARGETS_MAX: usize = 20_000;

/// The steps of an operation.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// Steps that carry the operation out, ordered so that a step comes after those it needs.
    pub forward: Vec<Step>,
    /// Steps that take it back. Empty for an operation that cannot be reverted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revert: Vec<Step>,
    /// Number of persons besides the starter who must approve before the first step.
    #[serde(default)]
    pub approvals: usize,
}

/// A step: the same act on each of its targets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Name of the step, unique in the plan.
    pub id: String,
    /// Act that the operation's kind knows by this word.
    pub act: String,
    /// Description of the step, for people.
    pub title: String,
    /// Effect class, which decides how a write with an unknown result is recovered.
    pub class: EffectClass,
    /// Earlier steps that must have passed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
    /// The step runs only on this condition, and is skipped otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<When>,
    /// Targets, in the order in which they are begun.
    pub targets: Vec<String>,
    /// Maximum number of targets under way at once.
    pub max_parallel: usize,
    /// Timeout for one target, from its intent to its observed effect, in seconds.
    pub timeout_seconds: u32,
    /// Automatic retries of a target.
    #[serde(default)]
    pub retry: Retry,
    /// Reaction to a target that failed for good.
    pub on_failure: OnFailure,
    /// Reaction to a target that timed out.
    pub on_timeout: OnFailure,
    /// How many targets must succeed.
    #[serde(default)]
    pub require: Require,
    /// The step waits for a person's `confirm`.
    #[serde(default)]
    pub confirm: bool,
    /// Checks that must pass before the first target begins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pre: Vec<String>,
    /// Checks that must pass before a target counts as succeeded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub post: Vec<String>,
    /// Parameters of the act.
    #[serde(default)]
    pub params: Value,
}

/// Condition of a step: the outcome of an earlier one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum When {
    /// The earlier step succeeded.
    Succeeded(String),
    /// The earlier step failed, and its plan permits going on.
    Failed(String),
}

/// Automatic retries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Retry {
    /// Maximum number of retries.
    pub max: i32,
    /// Pause before the first retry, in seconds. It doubles with each retry, up to a minute.
    pub backoff_seconds: u32,
}

/// Reaction to a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OnFailure {
    /// The operation fails.
    Fail,
    /// The operation pauses for a person.
    Pause,
    /// The operation goes on without the target.
    Continue,
    /// The operation takes back what it did.
    Revert,
}

/// Share of targets that must succeed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Require {
    /// Every target.
    #[default]
    All,
    /// At least this percentage of the targets.
    Percent(u8),
}

/// Error in a plan: a defect of the kind that made it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("step {step}: {problem}")]
pub struct PlanError {
    step: String,
    problem: String,
}

impl Plan {
    /// Checks the plan.
    ///
    /// # Errors
    /// The first step that breaks a rule: unique ids, needs that name earlier steps, targets, limits, and a person for
    /// every `Opaque` step that fails or times out.
    pub fn check(&self) -> Result<(), PlanError> {
        let mut ids = BTreeSet::new();
        let mut targets = 0;
        for steps in [&self.forward, &self.revert] {
            let mut earlier: BTreeSet<&str> = BTreeSet::new();
            for step in steps {
                let refuse = |problem: &str| Err(PlanError { step: step.id.clone(), problem: problem.to_owned() });
                targets += step.targets.len();
                let distinct: BTreeSet<&String> = step.targets.iter().collect();
                let conditions = step.when.iter().map(When::step);
                let mut named = step.needs.iter().map(String::as_str).chain(conditions);
                if step.id.is_empty() || !ids.insert(step.id.as_str()) {
                    return refuse("its id is empty or not unique");
                }
                if named.any(|name| !earlier.contains(name)) {
                    return refuse("it needs a step that does not come before it");
                }
                if step.targets.is_empty() || distinct.len() != step.targets.len() {
                    return refuse("it has no target, or one twice");
                }
                if step.max_parallel == 0 || step.timeout_seconds == 0 {
                    return refuse("maxParallel and timeoutSeconds are at least 1");
                }
                let asks_person =
                    [step.on_failure, step.on_timeout].iter().all(|reaction| *reaction == OnFailure::Pause);
                if step.class == EffectClass::Opaque && !asks_person {
                    return refuse("a step whose effect cannot be observed pauses on failure and on timeout");
                }
                if matches!(step.require, Require::Percent(percent) if percent > 100) {
                    return refuse("it requires more than all of its targets");
                }
                earlier.insert(step.id.as_str());
            }
        }
        if ids.len() > STEPS_MAX || targets > TARGETS_MAX {
            let problem = format!(
                "the plan has {} steps and {targets} targets; at most {STEPS_MAX} and {TARGETS_MAX}",
                ids.len()
            );
            return Err(PlanError { step: "all".to_owned(), problem });
        }
        Ok(())
    }

    /// Returns the step with this id, of either phase.
    pub fn step(&self, id: &str) -> Option<&Step> {
        self.forward.iter().chain(&self.revert).find(|step| step.id == id)
    }
}

impl When {
    pub(super) fn step(&self) -> &str {
        match self {
            Self::Succeeded(step) | Self::Failed(step) => step,
        }
    }
}

impl Require {
    /// Returns whether a step passed in which `succeeded` of `all` targets succeeded or were skipped by a person.
    pub(super) fn is_met(self, succeeded: usize, all: usize) -> bool {
        match self {
            Self::All => succeeded == all,
            Self::Percent(percent) => succeeded * 100 >= all * usize::from(percent),
        }
    }
}
