//! Delivery: the only writer of member objects and of the observed status of members.
//!
//! Each cluster has one task, run by the process that holds the `deliver/<cluster>` lease. The task reads placement
//! rows and revisions, renders and applies the objects, and watches the result. It writes what it observed to
//! `placement_status` and `cluster_status`.
//!
//! A program runs four parts: [`MemberFeeder`], [`Deliverers`], [`Delivery::write_observed`] and [`CredentialRenewal`]. None
//! of them needs the hub.
//!
//! Delivery decides nothing: replica numbers, places and revisions come from the rows.

pub mod connection;
mod credential_renewal;
mod decide;
mod deliverer;
mod deliverers;
mod event_loop;
mod fleet;
mod handshake;
mod hinted_rows;
mod member_feeder;
mod metrics;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod model;
mod observe;
mod revisions;
mod session;
mod status;
#[cfg(test)]
mod stored_rows;
mod write;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use members::Registry;
use store::{Hints, Store};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use credential_renewal::CredentialRenewal;
pub use deliverer::{DeliveryError, run};
pub use deliverers::Deliverers;
pub use fleet::Fleet;
pub use hinted_rows::HintedRows;
pub use member_feeder::MemberFeeder;
pub use metrics::DeliveryMetrics;
pub use revisions::Revisions;
pub use status::status_writer::StatusWriter;
pub use write::measured::MEMBER_WRITES;

/// Shared services and configuration of the deliverers of all clusters. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Database.
    pub store: Store,
    /// Cache of applications and their revisions.
    pub revisions: Arc<Revisions>,
    /// Cache of the fleet: cells, authorities and member UIDs.
    pub fleet: Arc<Fleet>,
    /// Cache of the rows named by recent hints.
    pub named: Arc<HintedRows>,
    /// Writer of observed status. Holds the status that is not written yet.
    pub status_writer: Arc<StatusWriter>,
    /// Permits for reading all rows and status of a member.
    ///
    /// The permits limit concurrent reads after a start, when all members are read.
    pub readers: Arc<Semaphore>,
    /// Hints sent and received.
    pub hints: Hints,
    /// Members that this process can connect to.
    pub registry: Registry,
    /// Intervals and timeouts.
    pub times: DeliveryTimes,
    /// Metrics of delivery.
    pub metrics: DeliveryMetrics,
}

/// Suggested number of permits for [`Delivery::readers`].
///
/// A read spends most of its time on processing the rows.
pub const READERS: usize = 4;

impl Delivery {
    /// Writes the observed status of all clusters to the database until shutdown.
    ///
    /// # Errors
    /// None: the status writer retries failed writes.
    pub async fn write_observed(self, shutdown: CancellationToken) -> Result<(), Infallible> {
        self.status_writer.run(&self.store, &self.hints, shutdown).await;
        Ok(())
    }
}

/// Intervals and timeouts of delivery. All are configurable; tests use short ones.
#[derive(Debug, Clone, Copy)]
pub struct DeliveryTimes {
    /// Interval between two probes of a member.
    ///
    /// A watch that was quiet for this long is probed too.
    pub probe: Duration,
    /// Timeout for signs of life: a member without any for this long is Unknown.
    pub silence: Duration,
    /// Time that a silent or refusing member must be well without a break before it counts as well.
    pub recovery: Duration,
    /// Minimum interval between two writes of a member's last sign of life and last health check.
    pub heartbeat: Duration,
    /// Interval between two reads of all rows, in case hints were lost.
    pub reread: Duration,
    /// Interval between two reads of a member's kinds and of Meridian's permissions there.
    pub rediscover: Duration,
}

impl Default for DeliveryTimes {
    fn default() -> Self {
        Self {
            probe: Duration::from_secs(3),
            silence: Duration::from_secs(12),
            recovery: Duration::from_secs(10),
            heartbeat: Duration::from_secs(10),
            reread: Duration::from_secs(30),
            rediscover: Duration::from_mins(5),
        }
    }
}
