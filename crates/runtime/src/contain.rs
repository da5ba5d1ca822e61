//! Contains a panic in the piece of work in which it happened.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use futures::FutureExt;

/// Error of a piece of work that panicked.
#[derive(Debug, thiserror::Error)]
#[error("it panicked, which is a bug in Meridian: {0}")]
pub struct Panicked(String);

impl Panicked {
    /// Converts the payload of a caught panic.
    pub fn of(caught: &(dyn Any + Send)) -> Self {
        let text = caught.downcast_ref::<&str>().map(|text| (*text).to_owned());
        Self(
            text.or_else(|| caught.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a message".to_owned()),
        )
    }
}

/// Runs a piece of work whose panic must not end other work.
///
/// # Guarantees
/// - State shared with other work stays as it was at the panic, and must be usable then. Locks are taken over from a
///   poisoned holder, and every write to the database is one transaction.
///
/// # Errors
/// [`Panicked`] when the work panics.
pub async fn contain<T>(work: impl Future<Output = T>) -> Result<T, Panicked> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(|caught| Panicked::of(&*caught))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn panic_is_an_error_with_its_message() {
        assert_eq!(contain(async { 7 }).await.unwrap(), 7);
        let place = 3;
        let error = contain(async move { assert!(place < 2, "place {place} is out of range") }).await.unwrap_err();
        assert!(error.to_string().ends_with("place 3 is out of range"), "{error}");
        let error = contain(async { panic!("no amount") }).await.unwrap_err();
        assert!(error.to_string().ends_with("no amount"), "{error}");
    }
}
