//! Intervals and timeouts of the engine.

use std::time::Duration;

/// Intervals and timeouts of the engine.
#[derive(Debug, Clone, Copy)]
pub struct FlowTimes {
    /// Interval between two reads of active operations and between two observations without a hint.
    pub look_again: Duration,
    /// Minimum interval between two observations of one target.
    pub observe_interval_min: Duration,
    /// Minimum interval between two commits that only report progress.
    pub progress_interval: Duration,
    /// Timeout for one act.
    pub act_timeout: Duration,
}

impl Default for FlowTimes {
    fn default() -> Self {
        Self {
            look_again: Duration::from_secs(1),
            observe_interval_min: Duration::from_millis(250),
            progress_interval: Duration::from_secs(1),
            act_timeout: Duration::from_secs(10),
        }
    }
}
