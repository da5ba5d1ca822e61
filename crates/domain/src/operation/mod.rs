//! Operations: long-running changes of the fleet, as a graph of steps. Pure.
//!
//! A [`Plan`] is fixed when the operation is created. A [`Run`] is its progress. [`advance`] brings a run to the next
//! point at which it waits, [`control`] applies what a person asks for, and [`conclude`] the result of an attempt. Each
//! returns the journal entries of its changes. `flow` stores them and acts.
//!
//! | state | the operation | leaves it by |
//! |---|---|---|
//! | `Pending` | waits for `start` | `start`, `cancel` |
//! | `AwaitingApproval` | waits for approvals | the last approval, `reject`, `cancel` |
//! | `AwaitingLocks` | waits until its locks are free | the locks, `pause`, `cancel`, `revert` |
//! | `Running` | begins steps and observes their effects | the last step, a failure, a verb |
//! | `Pausing`, `Cancelling`, `Failing` | begins nothing and lets writes under way end | the last of them |
//! | `Paused` | waits for a person | `resume`, `confirm`, `retry`, `skip`, `force`, `cancel`, `revert` |
//! | `Succeeded`, `SucceededWithExceptions`, `Failed`, `Cancelled`, `Reverted` | is over | `revert`; `retry` of a failed one |
//!
//! In phase `Revert` the steps of the plan's `revert` run through the same states.

mod advance;
mod cede;
mod conclude;
mod control;
mod control_step;
mod effect;
mod entry;
mod lock;
mod plan;
mod run;
mod verb;

#[cfg(test)]
mod tests;

pub use advance::{advance, next_wake, take_over};
pub use cede::{begin, cedes_at_once, preempt};
pub use conclude::{Outcome, conclude};
pub use control::control;
pub use effect::{EffectClass, Recovery};
pub use entry::{Entry, EntryKind};
pub use lock::{LockKey, LockMode, LockRequest, Priority};
pub use plan::{OnFailure, Plan, PlanError, Require, Retry, Step, When};
pub use run::{Key, Marks, Pause, PauseReason, Phase, Run, State, TargetRun, TargetState};
pub use verb::{Control, ControlRefusal, Verb};
