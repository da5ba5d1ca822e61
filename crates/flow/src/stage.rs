//! The stage of an attempt: while it acts, it is not stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// Whether an attempt may be stopped: not while it acts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stage(Arc<AtomicU8>);

const IDLE: u8 = 0;
const ACTING: u8 = 1;
const STOPPED: u8 = 2;

impl Stage {
    /// Stops the attempt. Returns whether it acts, so that it could not be stopped.
    pub(crate) fn stop(&self) -> bool {
        self.0.compare_exchange(IDLE, STOPPED, Ordering::AcqRel, Ordering::Acquire) == Err(ACTING)
    }

    pub(crate) fn is_acting(&self) -> bool {
        self.0.load(Ordering::Acquire) == ACTING
    }

    /// Begins to act, unless the attempt was stopped.
    pub(crate) fn begin(&self) -> bool {
        self.0.compare_exchange(IDLE, ACTING, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Ends the act. An attempt that acts is not stopped, so the stage is still `ACTING`.
    pub(crate) fn end(&self) {
        self.0.store(IDLE, Ordering::Release);
    }
}
