//! Writes objects to the member.

pub(crate) mod apply;
pub(crate) mod execute;
pub(crate) mod orphans;
