//! Metrics of intake.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use runtime::metrics::Metrics;

/// Metrics of intake.
#[derive(Debug, Clone)]
pub(crate) struct IntakeMetrics {
    /// Number of Applications that are absent on the hub without having been deleted.
    pub(crate) absent: Gauge,
    /// Number of failed attempts, which are retried.
    pub(crate) retries: Counter,
}

impl IntakeMetrics {
    /// Registers all metrics.
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self {
            absent: metrics.register(
                "intake_absent_applications",
                "Applications absent on the hub without having been deleted; members keep running them",
                Gauge::default(),
            ),
            retries: metrics.register(
                "intake_retries",
                "Attempts at intake that failed and are repeated",
                Counter::default(),
            ),
        }
    }
}
