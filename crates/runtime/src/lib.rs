//! What every process needs besides its work: logs, metrics, probes, supervision, shutdown and work queues.

pub mod contain;
pub mod crash;
pub mod logging;
pub mod metrics;
pub mod pace;
pub mod probes;
pub mod queue;
pub mod shared_read;
pub mod spacing;
pub mod supervise;
