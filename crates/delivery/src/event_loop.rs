//! Event loop of a session: follows a member and its rows, and writes the health of the member.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crds::cluster::v1alpha1::Amounts;
use members::WatchEvent;
use store::{ClusterStatusRow, Hint, PlacementId, StoreError};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::time::Instant;

use crate::deliverer::registered;
use crate::handshake::Unavailable;
use crate::observe::capacity::add;
use crate::observe::probes::{Probes, Sign};
use crate::observe::rediscovery::Rediscovery;
use crate::observe::watch_state::FollowState;
use crate::observe::watches::Watches;
use crate::session::{Rows, Session};
use crate::status::health_tracker::{HealthTracker, HealthWrite};
use crate::write::orphans::{OrphanPlan, OrphanRules, plan_orphans};

/// Pause before all rows are read again after a failed database call.
///
/// Each session scales the pause by its own offset.
const READ_AGAIN: Duration = Duration::from_secs(3);

impl Session {
    /// Follows the member and its rows until the lease is lost or another member takes this one's name.
    ///
    /// The loop survives failed database calls, so the watches stay open. After a failed read it reads all rows again
    /// later. After a failed write of health it writes again at the next probe tick. The loop also ends when the
    /// connection changes or the member's history goes back.
    pub(crate) async fn follow(&self, hints: &mut Receiver<Arc<Hint>>) -> Result<(), StoreError> {
        let times = self.times();
        let mut watches = Watches::new(self);
        let mut probes = Probes::default();
        let mut probe = tokio::time::interval(times.probe);
        // An offset per member spreads the periodic reads: members of one process would otherwise read at the same
        // moments.
        let own = self.period_offset();
        let mut reread = tokio::time::interval_at(Instant::now() + times.reread.mul_f64(own), times.reread);
        let mut rediscovery = Rediscovery::begin(Instant::now() + times.rediscover.mul_f64(own), times.rediscover);
        for ticks in [&mut probe, &mut reread] {
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        }
        let Some(row) = registered(self.delivery(), self.name()).await? else { return Ok(()) };
        let expected_uid = row.taken.member_uid;
        let mut health_tracker = HealthTracker::new(times, row.status);
        let mut heard = Instant::now();
        // Time of the next read of all rows. Set after a failed read or a failed deletion of orphans.
        let mut next_full_read: Option<Instant> = None;
        // Highest revision that the member's store reported. A watch from a revision above the store's own would
        // receive nothing until the store reaches it.
        let mut reached = None;
        loop {
            watches.cover(self);
            if watches.lacks_kinds() {
                rediscovery.lacks_kinds();
            }
            // The probe ticks all the time. If the loop runs late, this process was too busy to listen, and the member
            // was not silent.
            let late = heard.elapsed().saturating_sub(times.probe);
            health_tracker.deaf(late);
            watches.exclude_from_silence(late);
            heard = Instant::now();
            tokio::select! {
                Some((source, event)) = watches.next() => {
                    let outcome = if let WatchEvent::Down(error) = &event { Err(Unavailable::of(error)) } else { Ok(()) };
                    health_tracker.watch_reported(outcome);
                    let listed = watches.take(self, &source, event);
                    if listed && matches!(watches.judge(self, times.silence), FollowState::Known { .. }) {
                        self.write_health(&mut health_tracker, &mut watches).await?;
                    }
                }
                Some(sign) = probes.next() => match sign {
                    Sign::Answered(Ok(revision)) => {
                        health_tracker.answered(Ok(()));
                        if let (Some(reached), Some(revision)) = (reached, revision)
                            && revision < reached
                        {
                            tracing::warn!(
                                cluster = self.name(), ?reached, ?revision,
                                "the member's history went back: its store was restored from an older state; all is read anew"
                            );
                            return Ok(());
                        }
                        reached = revision.or(reached);
                    }
                    Sign::Answered(Err(trouble)) => health_tracker.answered(Err(trouble)),
                    Sign::WatchProbed(outcome) => health_tracker.watch_reported(outcome),
                },
                _ = probe.tick() => {
                    probes.ask(self.member(), &expected_uid, health_tracker.watch_is_quiet());
                    self.write_health(&mut health_tracker, &mut watches).await?;
                }
                // Reports silence as soon as its limit is reached, without waiting for the next probe.
                () = tokio::time::sleep_until(health_tracker.silent_at()), if health_tracker.silent_at() > Instant::now() => {
                    self.write_health(&mut health_tracker, &mut watches).await?;
                }
                () = sleep_until(next_full_read), if next_full_read.is_some() => {
                    next_full_read = self.plan_full_read(self.read_everything().await)?;
                    if self.is_replaced(&expected_uid) { return Ok(()) }
                }
                _ = reread.tick() => {
                    // Orphans are chosen before the rows are read: the row of a recently created object is then among
                    // the rows read.
                    let is_whole = watches.judge(self, times.silence) == FollowState::Known { stale: Vec::new() };
                    let orphans = self.plan_orphans().prune;
                    let mut outcome = self.read_again(times.reread).await;
                    if outcome.is_ok() && is_whole && next_full_read.is_none() {
                        outcome = self.prune(orphans).await;
                    }
                    next_full_read = self.plan_full_read(outcome)?.or(next_full_read);
                    if self.is_replaced(&expected_uid) { return Ok(()) }
                }
                answer = rediscovery.next(self.member(), &expected_uid) => match answer {
                    Ok(member_info) => self.met_again(member_info),
                    Err(trouble) => tracing::warn!(
                        cluster = self.name(), reason = trouble.reason, message = trouble.message,
                        "kinds and rights were not read again; those known stay in use"
                    ),
                },
                hint = hints.recv() => {
                    let outcome = match hint {
                        Ok(hint) => self.hear_all(hint, hints, &mut rediscovery).await,
                        Err(RecvError::Lagged(_)) => self.read_everything().await.map(|()| false),
                        Err(RecvError::Closed) => return Ok(()),
                    };
                    match outcome {
                        Ok(ends) => if ends || self.is_replaced(&expected_uid) { return Ok(()) },
                        Err(error) => next_full_read = self.plan_full_read(Err(error))?,
                    }
                }
            }
        }
    }

    /// Returns when to read all rows again: after a pause if `outcome` is a failure, else `None`.
    ///
    /// # Errors
    /// Only `StoreError::Fenced`: the lease is lost.
    fn plan_full_read(&self, outcome: Result<(), StoreError>) -> Result<Option<Instant>, StoreError> {
        let failed =
            self.log_failure(outcome, "a database call failed; the watches stay open, and all rows are read again")?;
        Ok(failed.then(|| Instant::now() + READ_AGAIN.mul_f64(0.5 + self.period_offset())))
    }

    /// Logs a failed database call and its consequence. Returns whether the call failed.
    ///
    /// # Errors
    /// Only `StoreError::Fenced`: the lease is lost.
    fn log_failure(&self, outcome: Result<(), StoreError>, consequence: &str) -> Result<bool, StoreError> {
        match outcome {
            Ok(()) => Ok(false),
            Err(error @ StoreError::Fenced { .. }) => Err(error),
            Err(error) => {
                tracing::warn!(cluster = self.name(), error = vocabulary::chain(&error), "{consequence}");
                Ok(true)
            }
        }
    }

    async fn read_again(&self, reread: Duration) -> Result<(), StoreError> {
        // All sessions share one read of the topology until the next interval.
        let now = Instant::now();
        self.read_topology(now.checked_sub(reread).unwrap_or(now)).await?;
        self.read_rows(Rows::Changed).await
    }

    /// Offset of the member in every period, from 0 to 1, derived from its name.
    fn period_offset(&self) -> f64 {
        let hash = vocabulary::ContentHash::of(self.name().as_bytes());
        f64::from(u16::from_be_bytes([hash.as_bytes()[0], hash.as_bytes()[1]])) / f64::from(u16::MAX)
    }

    /// Whether another cluster was registered under the name, which makes this session invalid.
    fn is_replaced(&self, expected_uid: &str) -> bool {
        self.fleet().member_uids.get(self.name()).is_some_and(|uid| uid != expected_uid)
    }

    /// Handles a hint and those queued behind it. Returns true when the session must start anew.
    async fn hear_all(
        &self,
        first: Arc<Hint>,
        hints: &mut Receiver<Arc<Hint>>,
        rediscovery: &mut Rediscovery,
    ) -> Result<bool, StoreError> {
        let (mut topology, mut deliver_hints) = (false, Vec::new());
        let mut next = Some(first);
        // Handles only the hints that are queued now, because new ones keep coming.
        for left in (0..=hints.len()).rev() {
            let Some(hint) = next.take() else { break };
            match hint.as_ref() {
                Hint::Deliver(_) => deliver_hints.push(hint),
                Hint::Topology => topology = true,
                _ => {
                    if self.hear(&hint, rediscovery).await? {
                        return Ok(true);
                    }
                }
            }
            if left > 0 {
                next = match hints.try_recv() {
                    Ok(hint) => Some(hint),
                    Err(TryRecvError::Empty | TryRecvError::Closed) => None,
                    Err(TryRecvError::Lagged(_)) => {
                        self.read_everything().await?;
                        return Ok(false);
                    }
                };
            }
        }
        // The topology is read before the rows, so that objects in a new cell are rendered with that cell.
        if topology {
            self.read_topology(Instant::now()).await?;
        }
        for hint in &deliver_hints {
            if let Hint::Deliver(named) = hint.as_ref() {
                self.read_named(hint, named).await?;
            }
        }
        Ok(false)
    }

    /// Handles a hint. Returns true when the session must start anew because the connection changed.
    async fn hear(&self, hint: &Arc<Hint>, rediscovery: &mut Rediscovery) -> Result<bool, StoreError> {
        match hint.as_ref() {
            Hint::Decide(app) => {
                let first = self.revisions().app_changed(*app, hint);
                let ids: Vec<PlacementId> = self.cluster_state().of_app(*app).map(|entry| entry.row.id).collect();
                if first && !ids.is_empty() {
                    // Reads the application while the scheduler decides, so that it is cached when the decision
                    // arrives. If this read fails, the attempt to deliver reads it again and reports the error.
                    let (revisions, app) = (Arc::clone(&self.delivery().revisions), *app);
                    tokio::spawn(async move { revisions.app(app).await.map(drop) });
                }
                self.queue().extend(ids);
            }
            Hint::Member(cluster) if cluster == self.name() => {
                let same = self.delivery().registry.get(self.cluster()).is_some_and(|member| member.is(self.member()));
                if same {
                    rediscovery.joined_again();
                }
                return Ok(!same);
            }
            Hint::Everything => self.read_everything().await?,
            _ => {}
        }
        Ok(false)
    }

    /// Reads the topology and all rows after hints were lost.
    async fn read_everything(&self) -> Result<(), StoreError> {
        let _reader = Arc::clone(&self.delivery().readers).acquire_owned().await;
        self.revisions().all_changed();
        self.read_topology(Instant::now()).await?;
        self.read_rows(Rows::All).await
    }

    /// Whether an object in the member carries a fence above that of its row, which was applied before.
    ///
    /// This happens when the database was restored from an older state.
    fn is_outdated(&self) -> bool {
        let cluster_state = self.cluster_state();
        cluster_state.entries.values().filter(|entry| entry.was_applied()).any(|entry| {
            let found = cluster_state.live(&entry.row.object).and_then(|live| live.fence);
            found.is_some_and(|found| found > self.fence(entry))
        })
    }

    /// Plans what to do with objects in the member that belong to no row.
    fn plan_orphans(&self) -> OrphanPlan {
        let now = Instant::now();
        let (orphans, placed) = {
            let mut cluster_state = self.cluster_state();
            (cluster_state.orphans(now), cluster_state.placed())
        };
        self.delivery().metrics.orphans.get_or_create(&self.label()).set(orphans.len() as i64);
        // An orphan must stay without a row through two reads of all rows before it is deleted.
        let age_min = self.times().reread * 2;
        let (installation, generation) = (self.installation(), self.generation());
        let outdated = !orphans.is_empty() && self.is_outdated();
        plan_orphans(
            orphans,
            now,
            OrphanRules { installation, generation, joined: self.joined(), placed, outdated, age_min },
        )
    }

    async fn write_health(&self, health_tracker: &mut HealthTracker, watches: &mut Watches) -> Result<(), StoreError> {
        let zones =
            self.fleet().topology.clusters.get(self.cluster()).map(|facts| facts.zones.clone()).unwrap_or_default();
        let ours = if watches.capacity_tracker.is_listed() { self.ours().await } else { None };
        // If the requests of our own pods cannot be read, the stored capacity is kept.
        let capacity = ours.and_then(|ours| watches.capacity_tracker.capacity(&zones, &ours));
        self.observe_zones(&watches.capacity_tracker);
        let member_info = self.member_info();
        health_tracker.nodes(watches.capacity_tracker.ready_nodes());
        health_tracker.orphans(self.plan_orphans().message);
        let followed = watches.judge(self, self.times().silence);
        let status = health_tracker.status(&followed, |before| ClusterStatusRow {
            version: Some(member_info.version.clone()),
            installation: member_info.installation.and_then(|version| i32::try_from(version).ok()),
            kinds: member_info.kind_names().into(),
            capacity: capacity
                .and_then(|capacity| serde_json::to_value(capacity).ok())
                .unwrap_or_else(|| before.capacity.clone()),
            ..before
        });
        let metrics = &self.delivery().metrics;
        let is_known = matches!(followed, FollowState::Known { .. });
        metrics.followed.get_or_create(&self.label()).set(i64::from(is_known));
        let Some(write) = health_tracker.due(&status) else { return Ok(()) };
        let store = &self.delivery().store;
        let written = match (write, status.checked_at) {
            (HealthWrite::Sign, Some(now)) => store.cluster_seen(self.claim(), self.name(), status.as_of, now).await,
            _ => store.cluster_status_set(self.claim(), self.name(), &status).await,
        };
        if self.log_failure(written, "member health was not written; the next probe tick writes it again")? {
            return Ok(());
        }
        if write == HealthWrite::Decisive {
            tracing::info!(
                cluster = self.name(),
                health = status.health.as_str(),
                reason = status.reason,
                message = status.message,
                "member health changed"
            );
        }
        let name = self.name().to_owned();
        self.delivery().hints.send(match write {
            HealthWrite::Decisive => Hint::Health(name),
            HealthWrite::Numbers => Hint::Capacity(name),
            HealthWrite::Sign => Hint::Seen(name),
        });
        health_tracker.wrote(status);
        Ok(())
    }

    /// Requests of the pods of delivered workloads, by the zones of their cell.
    ///
    /// Returns `None` when an application or a revision cannot be read.
    async fn ours(&self) -> Option<BTreeMap<Vec<String>, Amounts>> {
        let fleet = self.fleet();
        let mut ours: BTreeMap<Vec<String>, Amounts> = BTreeMap::new();
        let mut count = |cell: &str, cluster: &str, pod: Amounts, replicas: i32| {
            let cells = &fleet.topology.cells;
            let zones = cells.get(cell).or_else(|| cells.get(cluster)).map(|cell| cell.zones.clone());
            add(ours.entry(zones.unwrap_or_default()).or_default(), pod, i64::from(replicas));
        };
        let mut unknown = Vec::new();
        for entry in self.cluster_state().entries.values().filter(|entry| entry.status.replicas > 0) {
            let revision = entry.status.applied_revision.unwrap_or(entry.row.revision);
            match &entry.pod {
                Some((known, pod)) if *known == revision => {
                    count(&entry.row.cell, &entry.row.cluster, *pod, entry.status.replicas);
                }
                _ => unknown.push((entry.row.clone(), revision)),
            }
        }
        for (row, hash) in unknown {
            let facts = self.revisions().app(row.app).await.ok()?;
            let revision = self.revisions().revision(row.app, &facts.key, hash).await.ok()?;
            let found = revision.blueprint.components.iter().find(|known| known.name == row.component);
            if let (Some(found), Some(entry)) = (found, self.cluster_state().entries.get_mut(&row.id)) {
                count(&row.cell, &row.cluster, found.pod, entry.status.replicas);
                entry.pod = Some((hash, found.pod));
            }
        }
        Some(ours)
    }
}

async fn sleep_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
