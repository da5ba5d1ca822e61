//! Limits of requests: a token bucket for each subject, and a maximum of work at once.
//!
//! Control verbs have none of these limits: they must work when everything else is overloaded.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::code::Code;
use crate::failure::Failure;

/// Maximum size of a body, in bytes.
pub(crate) const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Maximum time that a request waits for its turn.
const TURN_TIMEOUT: Duration = Duration::from_secs(2);
/// Maximum number of requests that wait for a change or stream events.
const WAITERS_MAX: usize = 2_000;
/// Maximum number of subjects whose bucket is kept. Full buckets are forgotten first.
const BUCKETS_MAX: usize = 10_000;

/// Settings of the limits.
#[derive(Debug, Clone, Copy)]
pub struct LimitSettings {
    /// Requests that a subject may send for long, per second.
    pub requests_per_second: f64,
    /// Requests that a subject may send at once.
    pub requests_burst: f64,
    /// Maximum number of reads and creations that use the database at once.
    pub work_max: usize,
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self { requests_per_second: 50.0, requests_burst: 200.0, work_max: 64 }
    }
}

/// Limits of one process.
#[derive(Debug)]
pub(crate) struct Limits {
    settings: LimitSettings,
    buckets: Mutex<HashMap<String, Bucket>>,
    work: Arc<Semaphore>,
    waiters: Arc<Semaphore>,
}

/// Requests that a subject may still send.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f64,
    filled_at: Instant,
}

impl Limits {
    pub(crate) fn new(settings: LimitSettings) -> Self {
        Self {
            settings,
            buckets: Mutex::default(),
            work: Arc::new(Semaphore::new(settings.work_max)),
            waiters: Arc::new(Semaphore::new(WAITERS_MAX)),
        }
    }

    /// Counts a request of a subject.
    ///
    /// # Errors
    /// [`Code::RateLimited`] with the time until the next request is accepted.
    pub(crate) fn count(&self, subject: &str) -> Result<(), Failure> {
        let now = Instant::now();
        let LimitSettings { requests_per_second: rate, requests_burst: burst, .. } = self.settings;
        let filled =
            |bucket: &Bucket| (bucket.left + now.duration_since(bucket.filled_at).as_secs_f64() * rate).min(burst);
        let mut buckets = self.buckets.lock();
        if buckets.len() >= BUCKETS_MAX {
            buckets.retain(|_, bucket| filled(bucket) < burst);
        }
        let bucket = buckets.entry(subject.to_owned()).or_insert(Bucket { left: burst, filled_at: now });
        (bucket.left, bucket.filled_at) = (filled(bucket), now);
        if bucket.left >= 1.0 {
            bucket.left -= 1.0;
            return Ok(());
        }
        let seconds = ((1.0 - bucket.left) / rate).ceil();
        let detail = format!("{subject} sends more than {rate} requests a second");
        Err(Failure { retry_after_seconds: seconds as u32, ..Failure::new(Code::RateLimited, detail) })
    }

    /// Waits until a request may use the database.
    pub(crate) async fn turn(&self) -> Result<OwnedSemaphorePermit, Failure> {
        let busy = || Failure::new(Code::Busy, "too many requests use the database at once");
        let permit = tokio::time::timeout(TURN_TIMEOUT, Arc::clone(&self.work).acquire_owned()).await;
        permit.map_err(|_| busy())?.map_err(|_| busy())
    }

    /// Counts a request that waits for a change or streams events.
    pub(crate) fn waiter(&self) -> Result<OwnedSemaphorePermit, Failure> {
        let waiter = Arc::clone(&self.waiters).try_acquire_owned();
        waiter.map_err(|_| Failure::new(Code::Busy, "too many requests wait for changes at once"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subject_is_limited_after_its_burst_and_alone() {
        let settings = LimitSettings { requests_per_second: 0.5, requests_burst: 3.0, work_max: 1 };
        let limits = Limits::new(settings);
        for _ in 0..3 {
            limits.count("token/ci").unwrap();
        }
        let refused = limits.count("token/ci").unwrap_err();
        assert_eq!((refused.code, refused.retry_after_seconds), (Code::RateLimited, 2));
        limits.count("token/other").unwrap();
    }
}
