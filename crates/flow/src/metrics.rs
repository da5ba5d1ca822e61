//! Metrics of the engine.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use runtime::metrics::Metrics;

/// Metrics of the engine.
#[derive(Debug, Clone)]
pub struct FlowMetrics {
    /// Operations whose lease this process wants.
    pub(crate) owned: Gauge,
    /// Attempts that were begun.
    pub(crate) attempts: Counter,
    /// Changes of operations that were committed.
    pub(crate) commits: Counter,
}

impl FlowMetrics {
    /// Registers the metrics.
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            owned: metrics.register(
                "operations_owned",
                "Operations that this process owns or would take over",
                Gauge::default(),
            ),
            attempts: metrics.register("operation_attempts", "Attempts of operation steps", Counter::default()),
            commits: metrics.register("operation_commits", "Committed changes of operations", Counter::default()),
        }
    }
}
