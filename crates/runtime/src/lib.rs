//! Parts that every process needs besides its work.
//!
//! These are logs, metrics, probes, supervision, shutdown and work queues.

pub mod batch_limiter;
pub mod contain;
pub mod crash;
pub mod keyed_debounce;
pub mod logging;
pub mod metrics;
pub mod probes;
pub mod queue;
pub mod shared_read;
pub mod supervise;
