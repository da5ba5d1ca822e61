//! The operation engine. It knows no kind of operation.
//!
//! A process claims whole operations by lease and drives each with the pure machine of `domain::operation`. An attempt
//! goes: store the intent, act, observe, store the outcome. Everything that is stored is a compare-and-swap on the
//! operation's version. The owner writes under its claim, so a process that lost the claim changes nothing.
//!
//! Order of a request: [`create`] stores an operation, [`Engine`] claims it, `owner` drives it, `attempt` acts for one
//! target. [`control`] applies what persons ask for, in any process.

mod attempt;
mod control;
mod create;
mod engine;
mod kind;
mod metrics;
mod news;
mod owner;
mod owner_locks;
mod stage;
mod stored;
#[cfg(feature = "testing")]
pub mod testing;
mod times;
mod verify;

pub use control::{ControlError, ControlRequest, control};
pub use create::{CreateError, Created, Request, create, preview};
pub use engine::Engine;
pub use kind::{ActError, Attempt, CheckContext, Kind, Kinds, PlanFailure, Planned, Progress};
pub use metrics::FlowMetrics;
pub use stored::{LoadError, load};
pub use times::FlowTimes;
pub use verify::{ChainBreak, verify};
