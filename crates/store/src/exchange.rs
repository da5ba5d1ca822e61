//! The exchange of hints with other processes, by NOTIFY.
//!
//! # Guarantees
//! - Whatever others commit is heard of, or [`Hint::Everything`] comes after it: a session listens before it says that.
//! - A listener whose connection is dead is noticed, because it does not hear this process either.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use runtime::batch_limiter::BatchLimiter;
use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::sync::{broadcast, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::hints::{Hint, read_hints, texts};
use crate::peers::{HELLO, Peers};
use crate::{Store, StoreError};

const CHANNEL: &str = "meridian";
/// Between two notifications: hints that follow each other faster travel together; the first after a rest does not wait.
const GATHER: Duration = Duration::from_millis(10);
/// The same while there is no end of them.
const GATHER_MOST: Duration = Duration::from_millis(100);

/// Intervals of the exchange.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ExchangeTimes {
    /// Interval between signs of life.
    pub(crate) hello: Duration,
    /// Silence of the listener, which hears our own signs of life too, after which it counts as deaf.
    pub(crate) deaf: Duration,
    /// Pause before a broken exchange begins again.
    pub(crate) reconnect: Duration,
}

impl Default for ExchangeTimes {
    fn default() -> Self {
        Self { hello: HELLO, deaf: HELLO * 2, reconnect: Duration::from_secs(1) }
    }
}

/// One process's side of the exchange.
pub(crate) struct Exchange {
    pub(crate) store: Store,
    /// What this process signs with.
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
        // What was said before we listened is read. In this order: what is said from now on is heard.
        let _ = self.local.send(Arc::new(Hint::Everything));
        let mut batch = Vec::new();
        if self.peers.any() && self.missed.load(Ordering::Relaxed) {
            // The others listened meanwhile; what did not reach them may be the last that is said for long.
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

    /// A listener on a connection of its own, outside the pool: one that is deaf would keep its place there.
    async fn listen(&self) -> Result<PgListener, StoreError> {
        let database = &self.store.pool;
        let limit = database.deadlines.connection;
        let options = database.pool.connect_options().as_ref().clone();
        let own = PgPoolOptions::new().max_connections(1).acquire_timeout(limit).connect_lazy_with(options);
        let listening = async {
            let mut listener = PgListener::connect_with(&own).await?;
            // A new connection is a new session, which begins by reading everything.
            listener.eager_reconnect(false);
            listener.listen(CHANNEL).await?;
            Ok(listener)
        };
        tokio::time::timeout(limit * 2, listening).await.unwrap_or(Err(sqlx::Error::PoolTimedOut)).map_err(Into::into)
    }

    /// Tells the other processes, or that they are to read everything where some were missed. What could not be told is
    /// missed.
    async fn tell(&self, mut hints: BTreeSet<Arc<Hint>>) -> Result<(), StoreError> {
        if self.missed.swap(false, Ordering::Relaxed) {
            hints = BTreeSet::from([Arc::new(Hint::Everything)]);
        }
        let told = self.notify(&texts(&hints)).await;
        if told.is_err() {
            self.missed.store(true, Ordering::Relaxed);
        }
        told
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
    use crate::Hints;

    const LIMIT: Duration = Duration::from_secs(10);

    async fn heard(hints: &mut broadcast::Receiver<Arc<Hint>>, wanted: &Hint) {
        let heard = async { while hints.recv().await.unwrap().as_ref() != wanted {} };
        tokio::time::timeout(LIMIT, heard).await.unwrap_or_else(|_| panic!("{wanted:?} is not heard"));
    }

    #[tokio::test]
    async fn what_others_say_after_everything_is_heard() {
        let bed = Bed::builder().start().await.unwrap();
        let store = Store::open(&bed.postgres.url(), 2).unwrap();
        let shutdown = CancellationToken::new();
        let (hints, exchange) = Hints::new(store.clone(), shutdown.clone());
        let mut received = hints.subscribe();
        let exchange = tokio::spawn(exchange);
        for round in 0..2 {
            heard(&mut received, &Hint::Everything).await;
            bed.postgres.query(&format!("select pg_notify('meridian', 'peer [{{\"Observed\":{round}}}]')")).unwrap();
            heard(&mut received, &Hint::Observed(round)).await;
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
