//! Commands that compute placement decisions with the operator's pure functions.
//!
//! The input is read from the hub, or from files. Only `rebalance` writes: it requests the rebalance by an annotation.

pub(crate) mod explain;
pub(crate) mod fleet;
mod leaving;
mod losses;
mod others;
pub(crate) mod rebalance;
mod tables;
pub(crate) mod what_if;
