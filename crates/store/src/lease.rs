//! Leases: who may do what now.
//!
//! A process keeps all its leases by one UPDATE a second, on a thread and a connection of their own, so that
//! neither a busy runtime nor a busy pool can lose them. Time is the database's; giving up is decided by the
//! local monotonic clock.
//!
//! A write under a claim locks the lease's row `FOR KEY SHARE`, to renew it takes `FOR NO KEY UPDATE`, which goes together
//! with that, and to take it over `FOR UPDATE`, which does not (`PostgreSQL`, "Explicit Locking", row-level locks).

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::{Connection, PgConnection, Postgres, Transaction};
use tokio::sync::{Notify, oneshot, watch};

use crate::{Store, StoreError, pool};

/// How long a lease lasts and how often it is renewed.
#[derive(Debug, Clone, Copy)]
pub struct LeaseTimes {
    /// From a renewal to expiry.
    pub lasts: Duration,
    /// Between renewals.
    pub renew: Duration,
}

impl Default for LeaseTimes {
    fn default() -> Self {
        Self { lasts: Duration::from_secs(5), renew: Duration::from_secs(1) }
    }
}

/// A held lease, as long as it is valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// What writes present.
    pub claim: Claim,
    /// Until then the lease is certainly ours; check it at the moment of use.
    pub valid_until: Instant,
}

/// What a write presents to show that it may be made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    /// Name of the lease.
    pub lease: String,
    /// Epoch it was acquired with.
    pub epoch: i64,
}

impl Claim {
    /// Refuses the transaction unless the claim still holds; from then on nobody can take the lease over before
    /// the transaction ends.
    pub(crate) async fn check_in_txn(&self, transaction: &mut Transaction<'_, Postgres>) -> Result<(), StoreError> {
        let held = sqlx::query_scalar!(
            "SELECT 1 AS held FROM lease WHERE name = $1 AND epoch = $2 AND expires_at > now() FOR KEY SHARE",
            self.lease,
            self.epoch
        )
        .fetch_optional(&mut **transaction)
        .await?;
        held.map(|_| ()).ok_or_else(|| StoreError::Fenced { lease: self.lease.clone(), epoch: self.epoch })
    }
}

type Wanted = Arc<Mutex<BTreeMap<String, watch::Sender<Option<Term>>>>>;

/// Acquires and keeps leases for one process.
#[derive(Debug)]
pub struct Keeper {
    wanted: Wanted,
    /// A lease is wanted that was not before.
    more: Arc<Notify>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Keeper {
    /// Starts the thread that keeps leases under the name `holder`, which must be unique to the process.
    ///
    /// # Errors
    /// When the URL cannot be read.
    pub fn start(url: &str, holder: String, times: LeaseTimes) -> Result<Self, StoreError> {
        let options = pool::options(url)?;
        let wanted = Wanted::default();
        let (stop, mut stopped) = oneshot::channel();
        let shared = Arc::clone(&wanted);
        let more = Arc::<Notify>::default();
        let told = Arc::clone(&more);
        let thread = std::thread::Builder::new()
            .name("leases".to_owned())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .expect("a current-thread runtime needs nothing that can fail here");
                runtime.block_on(async {
                    let mut beat = Heart { options, holder, times, wanted: shared, connection: None };
                    let mut ticks = tokio::time::interval(times.renew);
                    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
                    loop {
                        tokio::select! {
                            _ = ticks.tick() => beat.beat().await,
                            // A free lease is ours at once, not only with the next renewal.
                            () = told.notified() => beat.beat().await,
                            _ = &mut stopped => break,
                        }
                    }
                    beat.release().await;
                });
            })
            .map_err(|error| StoreError::Unavailable(sqlx::Error::Io(error)))?;
        Ok(Self { wanted, more, stop: Some(stop), thread: Some(thread) })
    }

    /// Wants a lease from now on; the receiver holds the term whenever the lease is ours.
    pub fn want(&self, lease: &str) -> watch::Receiver<Option<Term>> {
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = wanted.entry(lease.to_owned()).or_insert_with(|| {
            self.more.notify_one();
            watch::channel(None).0
        });
        sender.subscribe()
    }

    /// No longer wants a lease. It ends by itself; whoever watched it sees its end now.
    pub fn leave(&self, lease: &str) {
        if let Some(sender) = self.wanted.lock().unwrap_or_else(PoisonError::into_inner).remove(lease) {
            sender.send_replace(None);
        }
    }

    /// Releases all leases, so that others need not wait for their expiry, and ends the thread.
    pub async fn release(mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // The thread ends after at most one database call, which is bounded.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

struct Heart {
    options: sqlx::postgres::PgConnectOptions,
    holder: String,
    times: LeaseTimes,
    wanted: Wanted,
    connection: Option<PgConnection>,
}

impl Heart {
    async fn beat(&mut self) {
        // Counted from before the question: what the database grants begins later than this.
        let asked = Instant::now();
        let names: Vec<String> = self.names(|_| true);
        if names.is_empty() {
            return;
        }
        let bound = self.times.lasts;
        match tokio::time::timeout(bound, self.renew(&names)).await {
            Ok(Ok(held)) => self.publish(&held, asked + self.times.lasts),
            Ok(Err(error)) => {
                self.connection = None;
                tracing::warn!(error = vocabulary::chain(&error), "leases were not renewed");
            }
            Err(_) => {
                self.connection = None;
                tracing::warn!("leases were not renewed in time");
            }
        }
        self.expire();
    }

    fn names(&self, filter: impl Fn(&watch::Sender<Option<Term>>) -> bool) -> Vec<String> {
        let wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        wanted.iter().filter(|(_, sender)| filter(sender)).map(|(name, _)| name.clone()).collect()
    }

    /// Renews what is ours and acquires what is free; returns name and epoch of all that is ours now.
    ///
    /// To renew waits for no write under a claim: those hold the row for its key alone. What ran out is taken only when no
    /// such write of its last holder, frozen perhaps, is open any more; until then it is passed over, and holds up nothing else.
    async fn renew(&mut self, names: &[String]) -> Result<Vec<(String, i64)>, StoreError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => PgConnection::connect_with(&self.options).await?,
        };
        let rows = sqlx::query!(
            r#"
            WITH mine AS MATERIALIZED (
              SELECT name, epoch FROM lease
              WHERE name = ANY($1) AND holder = $2 AND expires_at > now() ORDER BY name FOR NO KEY UPDATE
            ), free AS MATERIALIZED (
              SELECT name, epoch + 1 AS epoch FROM lease
              WHERE name = ANY($1) AND expires_at <= now() ORDER BY name FOR UPDATE SKIP LOCKED
            ), kept AS (
              UPDATE lease l SET holder = $2, epoch = n.epoch, expires_at = now() + make_interval(secs => $3)
              FROM (SELECT * FROM mine UNION ALL SELECT * FROM free) AS n WHERE l.name = n.name
              RETURNING l.name, l.epoch
            ), made AS (
              INSERT INTO lease (name, holder, epoch, expires_at)
              SELECT name, $2, 1, now() + make_interval(secs => $3) FROM unnest($1::text[]) AS wanted (name)
              WHERE NOT EXISTS (SELECT 1 FROM lease l WHERE l.name = wanted.name) ORDER BY name
              ON CONFLICT DO NOTHING
              RETURNING name, epoch
            )
            SELECT name AS "name!", epoch AS "epoch!" FROM kept UNION ALL SELECT name, epoch FROM made"#,
            names,
            self.holder,
            self.times.lasts.as_secs_f64()
        )
        .fetch_all(&mut connection)
        .await?;
        self.connection = Some(connection);
        Ok(rows.into_iter().map(|row| (row.name, row.epoch)).collect())
    }

    fn publish(&self, held: &[(String, i64)], valid_until: Instant) {
        let held: HashMap<&str, i64> = held.iter().map(|(lease, epoch)| (lease.as_str(), *epoch)).collect();
        let wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, sender) in wanted.iter() {
            let term = held
                .get(name.as_str())
                .map(|epoch| Term { claim: Claim { lease: name.clone(), epoch: *epoch }, valid_until });
            let before = sender.borrow().as_ref().map(|term| term.claim.epoch);
            let now = term.as_ref().map(|term| term.claim.epoch);
            if before != now {
                tracing::info!(lease = %name, ?before, ?now, "lease changed");
            }
            sender.send_replace(term);
        }
    }

    /// Takes back what can no longer be relied upon.
    fn expire(&self) {
        let wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, sender) in wanted.iter() {
            let over = sender.borrow().as_ref().is_some_and(|term| term.valid_until <= Instant::now());
            if over {
                tracing::warn!(lease = %name, "lease ran out");
                sender.send_replace(None);
            }
        }
    }

    async fn release(&mut self) {
        let held = self.names(|sender| sender.borrow().is_some());
        let wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for sender in wanted.values() {
            sender.send_replace(None);
        }
        let Some(connection) = self.connection.as_mut() else { return };
        let released = sqlx::query!(
            "UPDATE lease SET expires_at = now() WHERE name IN (
               SELECT name FROM lease WHERE holder = $1 AND name = ANY($2) ORDER BY name FOR NO KEY UPDATE)",
            self.holder,
            &held
        )
        .execute(connection);
        if !matches!(tokio::time::timeout(self.times.renew, released).await, Ok(Ok(_))) {
            tracing::warn!("leases were not released; others wait for their expiry");
        }
    }
}

impl Store {
    /// Whether a claim holds at this moment.
    pub async fn lease_holds(&self, claim: &Claim) -> Result<bool, StoreError> {
        let held = sqlx::query_scalar!(
            "SELECT 1 AS held FROM lease WHERE name = $1 AND epoch = $2 AND expires_at > now()",
            claim.lease,
            claim.epoch
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(held.is_some())
    }
}
