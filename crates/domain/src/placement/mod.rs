//! Decides where replicas go. Pure.
//!
//! Inputs are the request, the topology with capacity, directives and the previous placement.
//!
//! Order of precedence:
//! - Eligibility.
//! - Hard limits: capacity, `max`, pairs.
//! - No running replica moves.
//! - `min`, spread and `surviveLoss`.
//! - Shares.
//! - Weights.
//!
//! Tiers decide the order of filling. `docs/placement.md` explains the algorithm.

mod books;
mod capacity;
mod check;
mod decide;
mod eligibility;
mod gains;
mod hash;
mod inputs;
mod outcome;
mod rebalance;
mod request;
mod scope;
mod seats;
mod setting;
mod used_domains;
mod zone_spread;

pub use books::book;
pub use check::{SpecProblem, check_spec};
pub use decide::{decide, rebalance};
pub use eligibility::{Eligibility, Rejection, Rule, eligible_cells};
pub use hash::input_hash;
pub use inputs::InputDigest;
pub use outcome::{CellExplanation, Outcome, Spread};
pub use request::{Directive, DirectiveTarget, Effect, FAILOVER, Held, Ledger, Request};
pub use scope::DecisionScope;
pub use zone_spread::zone_spread;
