//! Runs random work on applications and clusters under random faults, and checks the result.
//!
//! A [`plan`] is drawn from a seed. [`run`] executes the plan on a test bed and records observations. [`check`] judges
//! them.

pub mod check;
pub mod gathered;
pub mod plan;
pub mod run;
pub mod seed;

mod end;
mod faults;
mod watch;
