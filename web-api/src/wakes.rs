//! Wakes requests that wait for a change of an operation.

use store::{Hint, Hints};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use vocabulary::OperationId;

/// Maximum number of wakes kept for a slow request; beyond, the request reads its operation again.
const BACKLOG: usize = 4_096;

/// Hints about operations, apart from all other hints, so that waiting requests do not see those.
#[derive(Debug, Clone)]
pub(crate) struct OperationWakes(broadcast::Sender<Option<OperationId>>);

impl OperationWakes {
    /// Starts the task that passes hints on until shutdown.
    pub(crate) fn start(hints: &Hints, shutdown: CancellationToken) -> Self {
        let (sender, _) = broadcast::channel(BACKLOG);
        let (mut hints, wakes) = (hints.subscribe(), sender.clone());
        tokio::spawn(async move {
            loop {
                let hint = tokio::select! {
                    () = shutdown.cancelled() => return,
                    hint = hints.recv() => hint,
                };
                let wake = match hint.as_deref() {
                    Ok(Hint::Operation(id)) => Some(*id),
                    Ok(Hint::Everything) | Err(RecvError::Lagged(_)) => None,
                    Ok(_) => continue,
                    Err(RecvError::Closed) => return,
                };
                // Without waiting requests there is no receiver.
                let _ = wakes.send(wake);
            }
        });
        Self(sender)
    }

    pub(crate) fn subscribe(&self) -> OperationWake {
        OperationWake(self.0.subscribe())
    }
}

/// What a waiting request looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wake {
    /// This operation changed.
    Operation(OperationId),
    /// Any operation may have changed.
    Any,
}

/// Receiver of one waiting request.
#[derive(Debug)]
pub(crate) struct OperationWake(broadcast::Receiver<Option<OperationId>>);

impl OperationWake {
    /// Waits until any operation changed, or for the time given.
    pub(crate) async fn next(&mut self, until: Instant) -> Wake {
        tokio::select! {
            () = sleep_until(until) => Wake::Any,
            wake = self.0.recv() => match wake {
                Ok(Some(id)) => Wake::Operation(id),
                Ok(None) | Err(RecvError::Lagged(_)) => Wake::Any,
                Err(RecvError::Closed) => {
                    sleep_until(until).await;
                    Wake::Any
                }
            },
        }
    }

    /// Waits until the operation may have changed, or for the time given.
    pub(crate) async fn wait(&mut self, id: OperationId, until: Instant) {
        loop {
            tokio::select! {
                () = sleep_until(until) => return,
                wake = self.0.recv() => match wake {
                    Ok(Some(other)) if other != id => {}
                    Ok(_) | Err(RecvError::Lagged(_)) => return,
                    Err(RecvError::Closed) => return sleep_until(until).await,
                },
            }
        }
    }
}
