//! Waiting for a condition.

use std::time::{Duration, Instant};

use anyhow::bail;

/// Between two looks at something outside this process that sends no events.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Looks until there is something, at most as long as given.
///
/// # Errors
/// When the time is over; the message says what was waited for and what was seen last.
pub async fn eventually<T, F>(what: &str, limit: Duration, mut look: F) -> anyhow::Result<T>
where
    F: AsyncFnMut() -> anyhow::Result<Option<T>>,
{
    let begun = Instant::now();
    let mut seen = "nothing".to_owned();
    while begun.elapsed() < limit {
        let left = limit.saturating_sub(begun.elapsed());
        match tokio::time::timeout(left, look()).await {
            Ok(Ok(Some(found))) => return Ok(found),
            Ok(Err(error)) => seen = format!("{error:#}"),
            // The limit cuts the last look short; what earlier ones saw says more.
            Err(_) if seen == "nothing" => "no answer".clone_into(&mut seen),
            Ok(Ok(None)) | Err(_) => {}
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    bail!("{what}: not within {} s; last seen: {seen}", limit.as_secs())
}
