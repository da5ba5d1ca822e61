//! Workers of a session: each works on one placement at a time.

use runtime::contain::contain;
use store::PlacementId;

use crate::session::Session;
use crate::write::execute;

/// Maximum number of objects worked on at once.
const WORKERS: usize = 24;

impl Session {
    /// Works on queued placements until the future is dropped.
    pub(crate) async fn work(&self) {
        let mut running = tokio::task::JoinSet::new();
        loop {
            tokio::select! {
                ids = self.queue().take(1), if running.len() < WORKERS => {
                    for id in ids {
                        running.spawn(self.clone().work_on(id));
                    }
                }
                Some(ended) = running.join_next() => {
                    if let Err(error) = ended
                        && error.is_panic()
                    {
                        std::panic::resume_unwind(error.into_panic());
                    }
                }
            }
        }
    }

    async fn work_on(self, id: PlacementId) {
        let queue = self.queue();
        // A panic about one object must not stop delivery of the others.
        let is_to_be_repeated = match contain(execute::work(&self, id)).await {
            Ok(repeat) => repeat,
            Err(panicked) => {
                tracing::error!(cluster = self.name(), placement = i64::from(id), error = %panicked, "object was not delivered; it is tried again");
                true
            }
        };
        if is_to_be_repeated {
            queue.fail(&id);
        } else {
            queue.finish(&id);
        }
        self.delivery().metrics.depth.get_or_create(&self.label()).set(queue.depth() as i64);
    }
}
