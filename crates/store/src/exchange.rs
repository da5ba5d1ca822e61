//! The exchange of hints with other processes, by NOTIFY.
//!
//! # Guarantees
//! - For every change that another process commits, subscribers receive its hint or a later [`Hint::Everything`]. A
//!   session listens before it sends [`Hint::Everything`].
//! - A listener with a dead connection is noticed, because it no longer receives this process's own signs of life.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use runtime::batch_limiter::BatchLimiter;
use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::sync::{broadcast, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::hint::{Hint, read_hints, texts};
use crate::peers::{HELLO, Peers};
use crate::{Store, StoreError};

const CHANNEL: &str = "meridian";
/// Minimum interval between two notifications, so that hints in quick succession are sent together.
///
/// The first hint after a pause is sent without delay.
const GATHER: Duration = Duration::from_millis(10);
/// Minimum interval between two notifications while hints keep arriving.
const GATHER_MOST: Duration = Duration::from_millis(100);

/// Intervals of the exchange.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ExchangeTimes {
    /// Interval between signs of life of this process.
    pub(crate) hello: Duration,
    /// Timeout for an own sign of life on the listener, after which the listener counts as dead.
    ///
    /// The listener also receives the signs of life of its own process.
    pub(crate) deaf: Duration,
    /// Minimum interval between the end of a broken exchange and the next attempt.
    pub(crate) reconnect: Duration,
}

impl Default for ExchangeTimes {
    fn default() -> Self {
        Self { hello: HELLO, deaf: HELLO * 2, reconnect: Duration::from_secs(1) }
    }
}

/// One process's side of the exchange of hints.
pub(crate) struct Exchange {
    pub(crate) store: Store,
    /// Id of this process, the first word of each of its notifications.
    pub(crate) me: String,
    pub(crate) local: broadcast::Sender<Arc<Hint>>,
    pub(crate) waiting: mpsc::Receiver<Arc<Hint>>,
    pub(crate) missed: Arc<AtomicBool>,
    pub(crate) peers: Peers,
    pub(crate) times: ExchangeTimes,
}

impl Exchange {
    pub(crate) async fn run(mut self, shutdown: CancellationToken) -> Result<(), StoreError> {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                ended = self.session() => {
                    if let Err(error) = ended {
                        tracing::info!(
                            error = vocabulary::chain(&error),
                            "hints of other processes are not heard; the exchange begins again"
                        );
                    }
                }
            }
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = tokio::time::sleep(self.times.reconnect) => {}
            }
        }
    }

    async fn session(&mut self) -> Result<(), StoreError> {
        let mut listener = self.listen().await?;
        // Subscribers read all changes from before the `LISTEN`. This order matters: the listener already receives
        // all later ones.
        let _ = self.local.send(Arc::new(Hint::Everything));
        let mut batch = Vec::new();
        if self.peers.any() && self.missed.load(Ordering::Relaxed) {
            // The other processes listened meanwhile. The hints that they missed may be the last for a long time, so
            // notify them now.
            self.tell(BTreeSet::new()).await?;
        }
        let mut pace = BatchLimiter::new(GATHER, GATHER_MOST);
        let mut hello = tokio::time::interval(self.times.hello);
        let mut deaf_at = Instant::now() + self.times.deaf;
        loop {
            tokio::select! {
                received = listener.try_recv() => {
                    let Some(notification) = received? else { return Ok(()) };
                    let Some((sender, text)) = notification.payload().split_once(' ') else { continue };
                    if sender == self.me {
                        deaf_at = Instant::now() + self.times.deaf;
                        continue;
                    }
                    if self.peers.heard(sender) {
                        self.tell(BTreeSet::from([Arc::new(Hint::Everything)])).await?;
                    }
                    for hint in read_hints(text) {
                        let _ = self.local.send(Arc::new(hint));
                    }
                }
                count = async { pace.ready().await; self.waiting.recv_many(&mut batch, 1024).await } => {
                    if count == 0 { return Ok(()); }
                    pace.begin(true);
                    let distinct: BTreeSet<Arc<Hint>> = batch.drain(..).collect();
                    if self.peers.any() {
                        self.tell(distinct).await?;
                    }
                }
                _ = hello.tick() => self.notify(&["[]".to_owned()]).await?,
                () = tokio::time::sleep_until(deaf_at) => {
                    let why = format!("its own sign of life was not heard for {} s", self.times.deaf.as_secs_f64());
                    let error = std::io::Error::new(std::io::ErrorKind::TimedOut, why);
                    return Err(StoreError::Unavailable(sqlx::Error::Io(error)));
                }
            }
        }
    }

    /// Opens a listener on a connection of its own, outside the pool.
    ///
    /// In the pool, a listener with a dead connection would keep its place.
    async fn listen(&self) -> Result<PgListener, StoreError> {
        let database = &self.store.pool;
        let limit = database.deadlines.connection;
        let options = database.pool.connect_options().as_ref().clone();
        let own = PgPoolOptions::new().max_connections(1).acquire_timeout(limit).connect_lazy_with(options);
        let listening = async {
            let mut listener = PgListener::connect_with(&own).await?;
            // A new connection needs a new session, because a session begins by having everything read.
            listener.eager_reconnect(false);
            listener.listen(CHANNEL).await?;
            Ok(listener)
        };
        tokio::time::timeout(limit * 2, listening).await.unwrap_or(Err(sqlx::Error::PoolTimedOut)).map_err(Into::into)
    }

    /// Sends hints to the other processes, or [`Hint::Everything`] where earlier hints were missed.
    ///
    /// Hints that cannot be sent are recorded as missed.
    async fn tell(&self, mut hints: BTreeSet<Arc<Hint>>) -> Result<(), StoreError> {
        if self.missed.swap(false, Ordering::Relaxed) {
            hints = BTreeSet::from([Arc::new(Hint::Everything)]);
        }
        let sent = self.notify(&texts(&hints)).await;
        if sent.is_err() {
            self.missed.store(true, Ordering::Relaxed);
        }
        sent
    }

    async fn notify(&self, texts: &[String]) -> Result<(), StoreError> {
        for text in texts {
            let payload = format!("{} {text}", self.me);
            sqlx::query("SELECT pg_notify($1, $2)").bind(CHANNEL).bind(payload).execute(&self.store.pool).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use testbed::{Bed, Link, LinkMode};

    use super::*;
    use crate::{AppId, Hints};

    const LIMIT: Duration = Duration::from_secs(10);

    async fn heard(hints: &mut broadcast::Receiver<Arc<Hint>>, wanted: &Hint) {
        let heard = async { while hints.recv().await.unwrap().as_ref() != wanted {} };
        tokio::time::timeout(LIMIT, heard).await.unwrap_or_else(|_| panic!("{wanted:?} is not heard"));
    }

    #[tokio::test]
    async fn hints_of_peers_after_everything_are_received() {
        let bed = Bed::builder().start().await.unwrap();
        let store = Store::open(&bed.postgres.url(), 2).unwrap();
        let shutdown = CancellationToken::new();
        let (hints, exchange) = Hints::new(store.clone(), shutdown.clone());
        let mut received = hints.subscribe();
        let exchange = tokio::spawn(exchange);
        for round in 0..2 {
            heard(&mut received, &Hint::Everything).await;
            bed.postgres.query(&format!("select pg_notify('meridian', 'peer [{{\"Observed\":{round}}}]')")).unwrap();
            heard(&mut received, &Hint::Observed(AppId(round))).await;
            bed.postgres.query("select pg_notify('meridian', 'peer [{\"Hinted\":{}},\"Topology\"]')").unwrap();
            heard(&mut received, &Hint::Everything).await;
            bed.postgres
                .query("select pg_terminate_backend(pid) from pg_stat_activity where query like 'LISTEN%'")
                .unwrap();
        }
        shutdown.cancel();
        exchange.await.unwrap().unwrap();
        store.close().await;
    }

    #[tokio::test]
    async fn a_listener_that_does_not_hear_itself_connects_anew() {
        let bed = Bed::builder().start().await.unwrap();
        let link = Link::to(bed.postgres.port()).await.unwrap();
        let url = bed.postgres.url().replace(&bed.postgres.port().to_string(), &link.port().to_string());
        let times = ExchangeTimes {
            hello: Duration::from_millis(200),
            deaf: Duration::from_secs(1),
            reconnect: Duration::from_millis(100),
        };
        let store = Store::open(&url, 2).unwrap();
        let shutdown = CancellationToken::new();
        let (hints, exchange) = Hints::with_times(store.clone(), times, shutdown.clone());
        let mut received = hints.subscribe();
        let exchange = tokio::spawn(exchange);
        heard(&mut received, &Hint::Everything).await;
        link.set(LinkMode::Forgotten);
        heard(&mut received, &Hint::Everything).await;
        bed.postgres.query("select pg_notify('meridian', 'peer [\"Topology\"]')").unwrap();
        heard(&mut received, &Hint::Topology).await;
        shutdown.cancel();
        exchange.await.unwrap().unwrap();
        link.set(LinkMode::Cut);
        store.close().await;
        link.unused().await.unwrap();
    }
}
