//! Locks: which operations may not run at the same time, and which one waits.

use std::fmt;

use serde::{Deserialize, Serialize};
use vocabulary::AppKey;

/// Something that an operation locks. The text form orders locks and is shown to people.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum LockKey {
    /// A region.
    Region(String),
    /// A zone of a region.
    Zone {
        /// Name of the region.
        region: String,
        /// Name of the zone.
        zone: String,
    },
    /// A cluster.
    Cluster(String),
    /// A cell.
    Cell(String),
    /// An Application.
    App(AppKey),
}

impl fmt::Display for LockKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Region(region) => write!(formatter, "region/{region}"),
            Self::Zone { region, zone } => write!(formatter, "zone/{region}/{zone}"),
            Self::Cluster(cluster) => write!(formatter, "cluster/{cluster}"),
            Self::Cell(cell) => write!(formatter, "cell/{cell}"),
            Self::App(app) => write!(formatter, "app/{app}"),
        }
    }
}

/// How an operation locks a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LockMode {
    /// No other operation holds the key.
    Exclusive,
    /// Others may hold it as well, but not exclusively.
    Shared,
}

/// A lock that an operation needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockRequest {
    /// The key.
    pub key: LockKey,
    /// The mode.
    pub mode: LockMode,
}

impl LockRequest {
    /// Requests a key for this operation alone.
    pub const fn exclusive(key: LockKey) -> Self {
        Self { key, mode: LockMode::Exclusive }
    }

    /// Requests a key beside other operations that share it.
    pub const fn shared(key: LockKey) -> Self {
        Self { key, mode: LockMode::Shared }
    }
}

/// Priority of an operation. A higher one takes locks from a lower one; an equal one is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Priority {
    /// Rollout of a sidecar.
    Rollout = 20,
    /// Release of an Application.
    Release = 30,
    /// Migration, rebalance or capacity switch.
    Migration = 50,
    /// Drain of a cluster, zone or cell.
    Drain = 60,
    /// Disaster recovery without a forced step.
    GracefulRecovery = 80,
    /// Forced disaster recovery.
    ForcedRecovery = 90,
}
