//! Decides where replicas go. Pure.
//!
//! Inputs are the request, the topology with capacity, directives and the previous placement.
//!
//! Order of precedence:
//! 1. Eligibility.
//! 2. Hard limits: capacity, `max`, pairs.
//! 3. No running replica moves.
//! 4. `min`, spread and `surviveLoss`.
//! 5. Shares.
//! 6. Weights.
//!
//! Tiers decide the order of filling. `docs/placement.md` explains the algorithm.

mod books;
mod capacity;
mod check;
mod decide;
mod eligibility;
mod gains;
mod groups;
mod growth;
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
pub use request::{Directive, DirectiveTarget, Effect, FAILOVER, Ledger, PreviousPlacement, Request};
pub use scope::DecisionScope;
pub use zone_spread::zone_spread;
