//! Supervises long-lived tasks.
//!
//! When a task ends before shutdown, the process or the term of leadership ends.

use std::future::Future;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// End of a task that should run until shutdown.
#[derive(Debug, thiserror::Error)]
pub enum TaskEnd {
    /// The task returned an error.
    #[error("{task} failed: {reason}")]
    Failed {
        /// Name of the task.
        task: &'static str,
        /// Text of the error.
        reason: String,
    },
    /// The task returned before shutdown was requested.
    #[error("{task} ended by itself")]
    Returned {
        /// Name of the task.
        task: &'static str,
    },
    /// The task panicked.
    #[error("a task panicked: {0}")]
    Panicked(String),
}

/// Owns the long-lived tasks of a process, or of one term of leadership.
#[derive(Debug)]
pub struct Supervisor {
    tasks: JoinSet<(&'static str, Result<(), String>)>,
    shutdown: CancellationToken,
}

impl Supervisor {
    /// Creates a supervisor whose tasks end when `shutdown` is cancelled.
    pub fn new(shutdown: CancellationToken) -> Self {
        Self { tasks: JoinSet::new(), shutdown }
    }

    /// Returns the token that is cancelled when the tasks must end.
    pub fn token(&self) -> CancellationToken {
        self.shutdown.clone()
    }

    /// Starts a task.
    ///
    /// The task must watch the supervisor's [`token`](Self::token) and return soon after its cancellation.
    pub fn spawn<E, F>(&mut self, name: &'static str, task: F)
    where
        E: std::fmt::Display,
        F: Future<Output = Result<(), E>> + Send + 'static,
    {
        self.tasks.spawn(async move { (name, task.await.map_err(|error| error.to_string())) });
    }

    /// Waits for shutdown, or for a task that ends before it. Then cancels all tasks and waits for them.
    ///
    /// # Errors
    /// [`TaskEnd`] when a task ended before shutdown was requested.
    pub async fn run(mut self) -> Result<(), TaskEnd> {
        let outcome = tokio::select! {
            () = self.shutdown.cancelled() => Ok(()),
            Some(ended) = self.tasks.join_next() => {
                if self.shutdown.is_cancelled() { Ok(()) } else { Err(end_of(ended)) }
            }
        };
        self.shutdown.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            if let Ok((task, Err(reason))) = ended {
                tracing::warn!(task, reason, "task ended with an error during shutdown");
            }
        }
        outcome
    }
}

fn end_of(ended: Result<(&'static str, Result<(), String>), tokio::task::JoinError>) -> TaskEnd {
    match ended {
        Ok((task, Err(reason))) => TaskEnd::Failed { task, reason },
        Ok((task, Ok(()))) => TaskEnd::Returned { task },
        Err(join) => TaskEnd::Panicked(join.to_string()),
    }
}

/// Completes on SIGTERM or Ctrl-C.
pub async fn terminated() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut term, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! { _ = term.recv() => {}, _ = interrupt.recv() => {} }
    Ok(())
}
