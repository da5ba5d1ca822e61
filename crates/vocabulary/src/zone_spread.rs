//! Strictness of the spread of an object's pods over the zones of its cluster.

use serde::{Deserialize, Serialize};

/// Strictness of the spread of an object's pods over the zones of its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ZoneSpread {
    /// A pod waits if it would make zones differ by more than one pod: `DoNotSchedule`.
    Strict,
    /// Zones differ by more than one pod only where there is no room: `ScheduleAnyway`.
    Preferred,
}

impl ZoneSpread {
    /// Returns the value of `whenUnsatisfiable` in a pod's topology spread constraint.
    pub const fn when_unsatisfiable(self) -> &'static str {
        match self {
            Self::Strict => "DoNotSchedule",
            Self::Preferred => "ScheduleAnyway",
        }
    }
}
