//! Random work on applications and clusters while everything below it breaks, and a checker of what came of it.
//!
//! A [`plan`] is drawn from a seed, [`run`] carries it out on a bed and gathers what is seen, [`check`] judges that.

pub mod check;
pub mod gathered;
pub mod plan;
pub mod run;
pub mod seed;

mod end;
mod faults;
mod watch;
