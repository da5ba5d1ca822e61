//! The fleet as the last batch left it: batches that follow each other closely need not read it anew.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::world::World;

/// A world is used for so long. Whatever is heard to have changed it ends it at once.
const AGE: Duration = Duration::from_millis(250);

/// A world that was read, and what this stage, the only writer of what is reserved, has booked in it since.
#[derive(Debug, Default)]
pub(crate) struct KeptWorld {
    /// Rises with everything that is heard.
    heard: AtomicU64,
    kept: Mutex<Option<Read>>,
    /// In the last that was read.
    clusters: AtomicUsize,
}

/// A world, when it was read, and what had been heard before.
#[derive(Debug)]
pub(crate) struct Read<W = World> {
    pub(crate) world: W,
    at: Instant,
    heard: u64,
}

impl<W> Read<W> {
    /// A world that was read just now.
    pub(crate) fn now(world: W) -> Self {
        Self { world, at: Instant::now(), heard: 0 }
    }

    fn holds(&self, heard: u64) -> bool {
        self.heard == heard && self.at.elapsed() < AGE
    }
}

impl KeptWorld {
    /// Something about the fleet changed: what was read before that holds no longer, also where it is in use just now.
    pub(crate) fn forget(&self) {
        self.heard.fetch_add(1, Ordering::SeqCst);
    }

    /// The world as it was at some time after whatever was heard; read anew when it must be. It is taken: a batch that fails
    /// keeps nothing.
    pub(crate) async fn take<E>(&self, read: impl AsyncFnOnce() -> Result<World, E>) -> Result<Read, E> {
        let heard = self.heard.load(Ordering::SeqCst);
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(kept) = kept.filter(|kept| kept.holds(heard)) {
            return Ok(kept);
        }
        let at = Instant::now();
        let world = read().await?;
        self.clusters.store(world.topology.clusters.len(), Ordering::Relaxed);
        Ok(Read { world, at, heard })
    }

    /// How many clusters there were at the last reading.
    pub(crate) fn clusters(&self) -> usize {
        self.clusters.load(Ordering::Relaxed)
    }

    /// Keeps a world for the next batch, with what was booked in it and is written.
    pub(crate) fn keep(&self, world: Read) {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(world);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_world_holds_until_something_is_heard_or_it_is_old() {
        let kept = KeptWorld::default();
        let read = || Read { world: (), at: Instant::now(), heard: kept.heard.load(Ordering::SeqCst) };
        let heard = || kept.heard.load(Ordering::SeqCst);
        let world = read();
        assert!(world.holds(heard()));
        kept.forget();
        assert!(!world.holds(heard()), "what was read before it was heard");
        let world = read();
        tokio::time::advance(AGE).await;
        assert!(!world.holds(heard()));
    }
}
