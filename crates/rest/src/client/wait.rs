//! Waits for an operation by long polls.

use std::time::Duration;

use tokio::time::Instant;
use vocabulary::OperationId;

use super::send::Request;
use super::{Client, ClientError};
use crate::Operation;

/// Time that the server may hold an answer back.
const POLL_HOLD: Duration = Duration::from_mins(1);
/// Timeout for an answer that is held back: the network needs some time too.
const POLL_TIMEOUT: Duration = Duration::from_secs(75);
/// Time on top of the limit of a wait for the answer to its last poll, which the server gives at the limit.
const LAST_POLL_EXTRA: Duration = Duration::from_secs(2);
/// Minimum interval between polls, for a server that holds nothing back.
const POLL_INTERVAL_MIN: Duration = Duration::from_millis(500);
/// Timeout for the polls of a wait without a limit: long enough for any maintenance of the server.
const POLL_DEADLINE_MAX: Duration = Duration::from_hours(30 * 24);

/// Result of a wait.
#[derive(Debug, Clone, PartialEq)]
pub enum Waited {
    /// The caller has seen enough: the operation as it was then.
    Ended(Box<Operation>),
    /// The time is over, and the operation goes on.
    Expired {
        /// The operation as it was last seen.
        last: Box<Operation>,
        /// Why its present state is unknown; `None` where the server answered to the end.
        silence: Option<String>,
    },
}

impl Client {
    /// Waits until `is_enough` returns true for an operation, or the time is over.
    ///
    /// `is_enough` sees the operation first at once, and then at least once a minute.
    ///
    /// # Guarantees
    /// Once the server has answered, it may restart, fail over or be away: the wait goes on until the limit. None of
    /// that is reported as a failure of the operation.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] if the server does not answer the first request within the deadline of the client,
    /// and refusals, such as those of an operation that does not exist or of a token that expired.
    ///
    /// # Cancel safety
    /// The wait may be dropped at any time. It changes nothing on the server.
    pub async fn wait_for_operation(
        &self,
        id: OperationId,
        limit: Option<Duration>,
        mut is_enough: impl FnMut(&Operation) -> bool,
    ) -> Result<Waited, ClientError> {
        let id = id.to_string();
        let end = limit.map(|limit| Instant::now() + limit);
        let mut last: Operation =
            self.send(&Request::get(self.endpoint.url(&["operations", &id], &[])), self.deadline).await?;
        loop {
            if is_enough(&last) {
                return Ok(Waited::Ended(Box::new(last)));
            }
            let left = end.map_or(POLL_DEADLINE_MAX, |end| end.saturating_duration_since(Instant::now()));
            let hold = POLL_HOLD.min(left);
            if hold.is_zero() {
                return Ok(Waited::Expired { last: Box::new(last), silence: None });
            }
            let query = [("waitSeconds", hold.as_secs().max(1).to_string())];
            let request = Request::get(self.endpoint.url(&["operations", &id], &query))
                .with_attempt_timeout(POLL_TIMEOUT)
                .with_any_server_error();
            let begun = Instant::now();
            match self.send(&request, left + LAST_POLL_EXTRA).await {
                Ok(operation) => last = operation,
                Err(ClientError::Unreachable { last: silence, .. }) => {
                    return Ok(Waited::Expired { last: Box::new(last), silence: Some(silence) });
                }
                Err(error) => return Err(error),
            }
            if !last.done {
                tokio::time::sleep_until(begun + POLL_INTERVAL_MIN).await;
            }
        }
    }
}
