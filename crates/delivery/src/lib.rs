//! Delivery: the only writer of member objects, and the only writer of what is known of them.
//!
//! One task per cluster, run by whoever holds the `deliver/<cluster>` lease. It reads placement rows and revisions,
//! renders, applies, watches the result and writes `placement_status` and `cluster_status`. It decides nothing:
//! numbers, places and revisions are those of the rows.

mod decide;
mod deliverer;
mod event_loop;
mod fleet;
mod handshake;
mod hinted_rows;
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

pub use deliverer::{DeliveryError, run};
pub use fleet::Fleet;
pub use hinted_rows::HintedRows;
pub use metrics::DeliveryMetrics;
pub use revisions::Revisions;
pub use status::status_writer::StatusWriter;
pub use write::execute::MEMBER_WRITES;

/// What delivery works with. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Database.
    pub store: Store,
    /// What was read of applications and their revisions.
    pub revisions: Arc<Revisions>,
    /// What was read of the fleet.
    pub fleet: Arc<Fleet>,
    /// Rows that hints name.
    pub named: Arc<HintedRows>,
    /// What was observed and is not written yet.
    pub status_writer: Arc<StatusWriter>,
    /// Members whose rows and status are read whole at once: after a start all of them are.
    pub readers: Arc<Semaphore>,
    /// Hints in and out.
    pub hints: Hints,
    /// Members this process can talk to.
    pub registry: Registry,
    /// Times.
    pub times: DeliveryTimes,
    /// Counters.
    pub metrics: DeliveryMetrics,
}

/// A good number of [`Delivery::readers`]: most of the time of a reading is spent on what was read.
pub const READERS: usize = 4;

impl Delivery {
    /// Writes what the deliverers of all clusters observe, until shutdown.
    ///
    /// # Errors
    /// None: what cannot be written is written later.
    pub async fn write_observed(self, shutdown: CancellationToken) -> Result<(), Infallible> {
        self.status_writer.run(&self.store, &self.hints, shutdown).await;
        Ok(())
    }
}

/// Timers of delivery; all configurable, tests use short ones.
#[derive(Debug, Clone, Copy)]
pub struct DeliveryTimes {
    /// Between two looks at a member that gives no sign of life by itself.
    pub probe: Duration,
    /// Without a sign of life for so long a member is Unknown.
    pub silence: Duration,
    /// A member that was silent or refused us counts as well only after it has been well for so long without a break.
    pub recovery: Duration,
    /// Between two writes of a member's last sign of life, and of when it was judged last.
    pub heartbeat: Duration,
    /// Between two readings of all rows, in case hints were lost.
    pub reread: Duration,
    /// Between two readings of a member's kinds and of our rights there.
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
