//! Commands that decide without changing anything: the same pure functions as the operator's, on what the hub shows or
//! on files.

pub(crate) mod explain;
pub(crate) mod fleet;
mod leaving;
mod losses;
mod others;
pub(crate) mod rebalance;
mod tables;
pub(crate) mod what_if;
