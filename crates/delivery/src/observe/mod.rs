//! Observation of a member: its lists and watches, and the state kept of them.

pub(crate) mod capacity;
pub(crate) mod cluster_state;
pub(crate) mod entry;
pub(crate) mod observed_object;
pub(crate) mod probes;
pub(crate) mod rediscovery;
pub(crate) mod row_status;
pub(crate) mod watch_state;
pub(crate) mod watches;
pub(crate) mod zones;
