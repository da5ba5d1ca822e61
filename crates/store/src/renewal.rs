//! Renewal of leases: one UPDATE per interval, on a thread and a connection of its own.

use std::collections::HashMap;
use std::sync::PoisonError;
use std::time::Instant;

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};
use tokio::sync::{Notify, oneshot, watch};

use crate::StoreError;
use crate::claim::{Claim, LeaseTimes, Term, Wanted};
use crate::database::Database;

/// The loop of the keeper's thread.
pub(crate) struct Renewal {
    options: PgConnectOptions,
    holder: String,
    times: LeaseTimes,
    wanted: Wanted,
    connection: Option<PgConnection>,
    /// Pool of the process, where leases are held only while the pool works.
    pool: Option<Database>,
}

impl Renewal {
    pub(crate) fn new(
        options: PgConnectOptions,
        holder: String,
        times: LeaseTimes,
        wanted: Wanted,
        pool: Option<Database>,
    ) -> Self {
        Self { options, holder, times, wanted, connection: None, pool }
    }

    /// Renews leases until `stopped` completes, and then releases them.
    pub(crate) async fn run(mut self, more: &Notify, mut stopped: oneshot::Receiver<()>) {
        let mut ticks = tokio::time::interval(self.times.renew);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.beat().await,
                // Acquire a free lease at once, before the next renewal.
                () = more.notified() => self.beat().await,
                _ = &mut stopped => break,
            }
        }
        self.release().await;
    }

    async fn beat(&mut self) {
        if self.is_cut_off() {
            return self.give_up().await;
        }
        self.expire();
        // The term counts from before the query: the duration that the database grants begins later.
        let asked = Instant::now();
        let names: Vec<String> = self.names(|_| true);
        if names.is_empty() {
            return;
        }
        // Watchers of a lease are notified when the lease ends, before the query would time out.
        let bound = self.first_end().map_or(self.times.lasts, |end| end.saturating_duration_since(asked));
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

    fn is_cut_off(&self) -> bool {
        self.pool.as_ref().is_some_and(|pool| pool.reach.is_cut_off(pool.deadlines.cut_off, Instant::now()))
    }

    /// Gives all leases back where possible, because the process cannot use the database.
    ///
    /// While this is so, the loop acquires no lease.
    async fn give_up(&mut self) {
        if !self.names(|sender| sender.borrow().is_some()).is_empty() {
            tracing::warn!(
                "the database gives no answers through the pool, or has the schema of another program; leases are given back"
            );
            self.release().await;
        }
    }

    /// Returns when the first of the held leases ends.
    fn first_end(&self) -> Option<Instant> {
        let wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        wanted.values().filter_map(|sender| sender.borrow().as_ref().map(|term| term.valid_until)).min()
    }

    fn names(&self, filter: impl Fn(&watch::Sender<Option<Term>>) -> bool) -> Vec<String> {
        let wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        wanted.iter().filter(|(_, sender)| filter(sender)).map(|(name, _)| name.clone()).collect()
    }

    /// Renews held leases and acquires free ones; returns name and epoch of all leases held now.
    ///
    /// Renewal waits for no write under a claim: such a write locks only the key of the lease's row. An expired lease
    /// may still be locked by an open write of its last holder, which may be frozen. The query skips such a lease
    /// until the write ends, and the other leases do not wait for it.
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

    /// Withdraws terms whose validity has ended.
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use testbed::Bed;

    use crate::{Deadlines, Keeper, LeaseTimes, Store};

    #[tokio::test]
    async fn leases_are_given_back_while_the_database_is_of_no_use() {
        const LONG: Duration = Duration::from_mins(5);
        let times = LeaseTimes { lasts: LONG, renew: Duration::from_millis(200) };
        let second = Duration::from_secs(1);
        let deadlines = Deadlines { connection: second, cut_off: 3 * second, ..Deadlines::default() };
        let bed = Bed::builder().start().await.unwrap();
        let store = Store::open_with(&bed.postgres.url(), 1, deadlines).unwrap();
        store.migrate().await.unwrap();
        let keeper = Keeper::start_for(&store, "stuck".to_owned(), times).unwrap();
        let other = Keeper::start(&bed.postgres.url(), "other".to_owned(), times).unwrap();
        let mut own = keeper.want("leader");
        own.begin().await.unwrap();
        let mut others = other.want("leader");

        // The only connection of the pool is in use for ever; the keeper's own connection works.
        let stuck = store.pool.lend().await.unwrap();
        let taken = tokio::time::timeout(20 * second, others.begin()).await.expect("in time").unwrap();
        assert_eq!(taken.epoch, 2);
        assert!(own.current().is_none());

        drop(stuck);
        drop(others);
        other.release().await;
        let back = tokio::time::timeout(20 * second, own.begin()).await.expect("it takes part again").unwrap();
        // A later program's migration excludes this program: the keeper gives its leases back.
        bed.postgres.query("update schema_range set oldest_program = 9999").unwrap();
        bed.postgres.query("insert into _sqlx_migrations select 9999, 'later', now(), true, 'x', 1").unwrap();
        assert!(store.check().await.is_err());
        tokio::time::timeout(20 * second, own.end_of(&back)).await.expect("it gives them back");
        drop(own);
        store.close().await;
        keeper.release().await;
    }
}
