//! Metrics of the server.

use axum::http::StatusCode;
use prometheus_client::metrics::counter::Counter;
use runtime::metrics::Metrics;

/// Metrics of the server.
#[derive(Debug, Clone)]
pub(crate) struct ApiMetrics {
    /// Requests that were answered.
    requests: Counter,
    /// Answers with a status of 400 to 499.
    refused: Counter,
    /// Answers with a status of 500 and above.
    failed: Counter,
    /// Audit rows that could not be written.
    pub(crate) audit_lost: Counter,
}

impl ApiMetrics {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self {
            requests: metrics.register("api_requests", "Requests that were answered", Counter::default()),
            refused: metrics.register(
                "api_requests_refused",
                "Answers with a status of 400 to 499",
                Counter::default(),
            ),
            failed: metrics.register(
                "api_requests_failed",
                "Answers with a status of 500 and above",
                Counter::default(),
            ),
            audit_lost: metrics.register("api_audit_lost", "Audit rows that could not be written", Counter::default()),
        }
    }

    pub(crate) fn count(&self, status: StatusCode) {
        self.requests.inc();
        if status.is_client_error() {
            self.refused.inc();
        } else if status.is_server_error() {
            self.failed.inc();
        }
    }
}
