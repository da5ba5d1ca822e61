//! Waits for a condition.

use std::time::{Duration, Instant};

use anyhow::bail;

/// Interval between two checks of a state outside this process that sends no events.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Calls `look` until it returns a value, for at most `limit`.
///
/// # Errors
/// If the time is over. The message names the condition and the last failed check.
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
            // The limit cuts the last check short, so the error of an earlier check is more useful.
            Err(_) if seen == "nothing" => "no answer".clone_into(&mut seen),
            Ok(Ok(None)) | Err(_) => {}
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    bail!("{what}: not within {} s; last seen: {seen}", limit.as_secs())
}
