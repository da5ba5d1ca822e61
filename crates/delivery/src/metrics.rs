//! Counters of delivery: planned = sent = applied, or one of them tells why not.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use runtime::metrics::Metrics;

/// Label of everything that is counted per cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ClusterLabel {
    /// Cluster.
    pub cluster: String,
}

/// Label of failures.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct FailureLabel {
    /// Cluster.
    pub cluster: String,
    /// Kind of error.
    pub reason: &'static str,
}

/// What delivery counts.
#[derive(Debug, Clone)]
pub struct DeliveryMetrics {
    /// Writes a row called for.
    pub planned: Family<ClusterLabel, Counter>,
    /// Writes sent to members.
    pub sent: Family<ClusterLabel, Counter>,
    /// Writes members took.
    pub applied: Family<ClusterLabel, Counter>,
    /// Attempts that failed.
    pub failed: Family<FailureLabel, Counter>,
    /// Objects waiting to be worked on.
    pub depth: Family<ClusterLabel, Gauge>,
    /// Seconds of one write to a member.
    pub seconds: Family<ClusterLabel, Histogram>,
    /// Objects with our label that belong to no row.
    pub orphans: Family<ClusterLabel, Gauge>,
    /// Objects that belonged to no row and were deleted.
    pub orphans_pruned: Family<ClusterLabel, Counter>,
    /// One while everything in the member that matters was listed and is watches.
    pub followed: Family<ClusterLabel, Gauge>,
}

impl DeliveryMetrics {
    /// Registers everything.
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
                "Whether everything that matters in the member was listed and is watches",
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
