//! Writes objects to the member.

pub(crate) mod apply;
pub(crate) mod execute;
pub(crate) mod measured;
pub(crate) mod orphans;
pub(crate) mod workers;
