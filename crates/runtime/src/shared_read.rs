//! Shares one read of a large value among all callers that asked before the read began.

use std::sync::Arc;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// The last value read, and the time at which its read began.
///
/// # Guarantees
/// - A returned value was read after the moment asked for. A caller that received a change hint sees that change.
/// - Only one read runs at a time. Callers that ask during a read share the next read.
#[derive(Debug)]
pub struct SharedRead<T>(Mutex<Option<(Instant, Arc<T>)>>);

impl<T> Default for SharedRead<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T> SharedRead<T> {
    /// Returns a value whose read began no earlier than `moment`.
    ///
    /// # Errors
    /// Those of `read`. The next caller reads again.
    pub async fn since<E>(&self, moment: Instant, read: impl AsyncFnOnce() -> Result<T, E>) -> Result<Arc<T>, E> {
        let mut last = self.0.lock().await;
        if let Some((began, found)) = last.as_ref()
            && *began >= moment
        {
            return Ok(Arc::clone(found));
        }
        let began = Instant::now();
        let found = Arc::new(read().await?);
        *last = Some((began, Arc::clone(&found)));
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn those_who_ask_meanwhile_share_the_next_reading() {
        let (shared, readings) = (SharedRead::default(), AtomicU32::new(0));
        let read = async || {
            tokio::time::sleep(Duration::from_millis(10)).await;
            Ok::<_, Infallible>(readings.fetch_add(1, Ordering::Relaxed))
        };
        let ask = async |after: u64| {
            tokio::time::sleep(Duration::from_millis(after)).await;
            *shared.since(Instant::now(), read).await.unwrap()
        };
        let got = tokio::join!(ask(0), ask(1), ask(2), ask(3));
        assert_eq!(got, (0, 1, 1, 1), "three asked while the first was under way");
        assert_eq!(*shared.since(Instant::now() - Duration::from_millis(15), read).await.unwrap(), 1);
    }
}
