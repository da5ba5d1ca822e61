//! Counters of the stage.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use runtime::metrics::Metrics;

/// What the stage counts.
#[derive(Debug, Clone)]
pub(crate) struct IntakeMetrics {
    /// Applications that are absent on the hub without having been deleted.
    pub(crate) absent: Gauge,
    /// Attempts that failed and are repeated.
    pub(crate) retries: Counter,
}

impl IntakeMetrics {
    /// Registers everything.
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
