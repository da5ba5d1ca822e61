//! Metrics of delivery. Without failures, planned, sent and applied writes are equal.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use runtime::metrics::Metrics;

/// Label of metrics per cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ClusterLabel {
    /// Name of the cluster.
    pub cluster: String,
}

/// Label of failures.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct FailureLabel {
    /// Name of the cluster.
    pub cluster: String,
    /// Kind of the error.
    pub reason: &'static str,
}

/// Metrics of delivery.
#[derive(Debug, Clone)]
pub struct DeliveryMetrics {
    /// Number of writes that rows required.
    pub planned: Family<ClusterLabel, Counter>,
    /// Number of writes sent to members.
    pub sent: Family<ClusterLabel, Counter>,
    /// Number of writes that members accepted.
    pub applied: Family<ClusterLabel, Counter>,
    /// Number of failed attempts.
    pub failed: Family<FailureLabel, Counter>,
    /// Number of objects that wait for work.
    pub depth: Family<ClusterLabel, Gauge>,
    /// Duration of one write to a member, in seconds.
    pub seconds: Family<ClusterLabel, Histogram>,
    /// Number of objects with our label that belong to no row.
    pub orphans: Family<ClusterLabel, Gauge>,
    /// Number of deleted objects that belonged to no row.
    pub orphans_pruned: Family<ClusterLabel, Counter>,
    /// 1 while all streams of the member are followed, except those of stale kinds, otherwise 0.
    pub followed: Family<ClusterLabel, Gauge>,
}

impl DeliveryMetrics {
    /// Creates and registers the metrics.
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            planned: metrics.register("delivery_planned", "Writes called for by placement rows", Family::default()),
            sent: metrics.register("delivery_sent", "Writes sent to members", Family::default()),
            applied: metrics.register("delivery_applied", "Writes taken by members", Family::default()),
            failed: metrics.register("delivery_failed", "Attempts that failed", Family::default()),
            depth: metrics.register("delivery_queue_depth", "Objects waiting for delivery", Family::default()),
            seconds: metrics.register(
                "delivery_write_seconds",
                "Duration of one write to a member",
                Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.002, 2.0, 14))),
            ),
            followed: metrics.register(
                "delivery_followed",
                "Whether everything that matters in the member was listed and is watched",
                Family::default(),
            ),
            orphans_pruned: metrics.register(
                "delivery_orphans_pruned",
                "Managed objects without a placement row that were deleted",
                Family::default(),
            ),
            orphans: metrics.register("delivery_orphans", "Labelled objects that belong to no row", Family::default()),
        }
    }
}
