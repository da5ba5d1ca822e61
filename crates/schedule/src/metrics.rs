//! Metrics of the schedule stage.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use runtime::metrics::Metrics;

/// The metrics of the schedule stage.
#[derive(Debug, Clone)]
pub struct ScheduleMetrics {
    /// Number of applications in the queue, including those being decided.
    pub depth: Gauge,
    /// Number of decisions written.
    pub decided: Counter,
    /// Number of decisions discarded because their inputs changed before the write.
    pub outdated: Counter,
    /// Number of decisions that changed nothing and were not written.
    pub unchanged: Counter,
    /// 1 while the failover breaker is open and automatic moves are frozen, otherwise 0.
    pub breaker_open: Gauge,
    /// Number of failed batches.
    pub failed: Counter,
    /// Seconds from taking a batch to its commit.
    pub batch_seconds: Histogram,
}

impl ScheduleMetrics {
    /// Registers all metrics of the stage.
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            depth: metrics.register("schedule_queue_depth", "Applications waiting for a decision", Gauge::default()),
            decided: metrics.register("schedule_decisions", "Decisions written", Counter::default()),
            outdated: metrics.register(
                "schedule_outdated_decisions",
                "Decisions not written because what they were made from changed meanwhile",
                Counter::default(),
            ),
            unchanged: metrics.register(
                "schedule_unchanged",
                "Applications that needed no decision",
                Counter::default(),
            ),
            breaker_open: metrics.register(
                "failover_breaker_open",
                "1 while too much is unhealthy at once for replicas to be moved by themselves",
                Gauge::default(),
            ),
            failed: metrics.register("schedule_failed_batches", "Batches that failed", Counter::default()),
            batch_seconds: metrics.register(
                "schedule_batch_seconds",
                "Duration of one batch of decisions, commit included",
                Histogram::new(exponential_buckets(0.001, 2.0, 14)),
            ),
        }
    }
}
