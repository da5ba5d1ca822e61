//! How strictly pods of one object are spread over the zones of its cluster.

use serde::{Deserialize, Serialize};

/// How strictly pods of one object are spread over the zones of its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ZoneSpread {
    /// A pod that would make zones differ by more than one waits: `DoNotSchedule`.
    Strict,
    /// Zones differ by more than one only where there is no room: `ScheduleAnyway`.
    Preferred,
}

impl ZoneSpread {
    /// The text form in a pod's topology spread constraint.
    pub const fn when_unsatisfiable(self) -> &'static str {
        match self {
            Self::Strict => "DoNotSchedule",
            Self::Preferred => "ScheduleAnyway",
        }
    }
}
