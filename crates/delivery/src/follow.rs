//! Follows a member and the rows meant for it, and writes how the member is.

use std::sync::Arc;

use crds::cluster::v1alpha1::Amounts;
use members::WatchEvent;
use store::{ClusterStatusRow, Hint, PlacementId, StoreError};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::time::Instant;

use crate::capacity::add;
use crate::cluster::registered;
use crate::contact::{Trouble, meet};
use crate::probes::{Probes, Sign};
use crate::pulse::{Pulse, PulseWrite};
use crate::session::{Rows, Session};
use crate::watched::Watched;

impl Session {
    /// Follows the member and the rows.
    pub(crate) async fn follow(&self, hints: &mut Receiver<Arc<Hint>>) -> Result<(), StoreError> {
        let times = self.times();
        let mut watched = Watched::new(self);
        let mut probes = Probes::default();
        let mut probe = tokio::time::interval(times.probe);
        // Members that were met together do not do the same things at the same moments for ever.
        let own = self.own_moment();
        let mut reread = tokio::time::interval_at(Instant::now() + times.reread.mul_f64(own), times.reread);
        let mut rediscover = tokio::time::interval_at(Instant::now() + times.rediscover.mul_f64(own), times.rediscover);
        for ticks in [&mut probe, &mut reread, &mut rediscover] {
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        }
        let Some(row) = registered(self.delivery(), self.name()).await? else { return Ok(()) };
        let expected_uid = row.taken.member_uid;
        let mut pulse = Pulse::new(times, row.status);
        let mut heard = Instant::now();
        // A watch from a revision that the member has not reached any more would hear nothing until it has.
        let mut reached = None;
        loop {
            watched.cover(self);
            // Something is due all the time: when it comes late, it is we who did not listen.
            pulse.deaf(heard.elapsed().saturating_sub(times.probe));
            heard = Instant::now();
            tokio::select! {
                Some((source, event)) = watched.next() => {
                    let listed = matches!(event, WatchEvent::Synced { .. });
                    if let WatchEvent::Down(error) = event {
                        pulse.told(Err(Trouble::of(&error)));
                    } else {
                        pulse.told(Ok(()));
                        watched.take(self, &source, event);
                    }
                    if listed && watched.complete(self) {
                        self.write_pulse(&mut pulse, &mut watched).await?;
                    }
                }
                Some(sign) = probes.next() => match sign {
                    Sign::Answered(Ok(revision)) => {
                        pulse.answered(Ok(()));
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
                    Sign::Answered(Err(trouble)) => pulse.answered(Err(trouble)),
                    Sign::Told(outcome) => pulse.told(outcome),
                },
                _ = probe.tick() => {
                    probes.ask(self.member(), &expected_uid, pulse.watch_is_quiet());
                    self.write_pulse(&mut pulse, &mut watched).await?;
                }
                // Silence is told when it has lasted long enough, not with the next question after that.
                () = tokio::time::sleep_until(pulse.silent_at()), if pulse.silent_at() > Instant::now() => {
                    self.write_pulse(&mut pulse, &mut watched).await?;
                }
                _ = reread.tick() => {
                    // What one has read serves all until they read again.
                    let now = Instant::now();
                    self.read_topology(now.checked_sub(times.reread).unwrap_or(now)).await?;
                    self.read_rows(Rows::Changed).await?;
                    if self.is_replaced(&expected_uid) { return Ok(()) }
                }
                _ = rediscover.tick() => self.rediscover().await,
                hint = hints.recv() => match hint {
                    Ok(hint) => if self.hear_all(hint, hints).await? || self.is_replaced(&expected_uid) { return Ok(()) },
                    Err(RecvError::Lagged(_)) => self.read_everything().await?,
                    Err(RecvError::Closed) => return Ok(()),
                },
            }
        }
    }

    /// Where in every period the member has its moment, from 0 to 1; by its name.
    fn own_moment(&self) -> f64 {
        let hash = vocabulary::ContentHash::of(self.name().as_bytes());
        f64::from(u16::from_be_bytes([hash.as_bytes()[0], hash.as_bytes()[1]])) / f64::from(u16::MAX)
    }

    /// Another cluster was put under the name: nothing of this session holds for it.
    fn is_replaced(&self, expected_uid: &str) -> bool {
        self.fleet().member_uids.get(self.name()).is_some_and(|uid| uid != expected_uid)
    }

    /// Acts on a hint and on those that wait behind it. True when the session must begin anew.
    async fn hear_all(&self, first: Arc<Hint>, hints: &mut Receiver<Arc<Hint>>) -> Result<bool, StoreError> {
        let (mut topology, mut told) = (false, Vec::new());
        let mut next = Some(first);
        // Not more than wait now: new ones keep coming.
        for left in (0..=hints.len()).rev() {
            let Some(hint) = next.take() else { break };
            match hint.as_ref() {
                Hint::Deliver(_) => told.push(hint),
                Hint::Topology => topology = true,
                _ => {
                    if self.hear(&hint).await? {
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
        // First: what is placed in a cell that is new is rendered as that cell's.
        if topology {
            self.read_topology(Instant::now()).await?;
        }
        for hint in &told {
            if let Hint::Deliver(named) = hint.as_ref() {
                self.read_named(hint, named).await?;
            }
        }
        Ok(false)
    }

    /// Acts on a hint. True when the session must begin anew: the connection changed.
    async fn hear(&self, hint: &Arc<Hint>) -> Result<bool, StoreError> {
        match hint.as_ref() {
            Hint::Decide(app) => {
                let first = self.revisions().app_changed(*app, hint);
                let ids: Vec<PlacementId> = self.board().of_app(*app).map(|entry| entry.row.id).collect();
                if first && !ids.is_empty() {
                    // Read while it is decided: when the decision arrives, it is known. If that fails, whoever delivers
                    // reads it and says so.
                    let (revisions, app) = (Arc::clone(&self.delivery().revisions), *app);
                    tokio::spawn(async move { revisions.app(app).await.map(drop) });
                }
                for id in &ids {
                    // A refusal may have become void: adoption may be allowed now.
                    if let Some(entry) = self.board().entries.get_mut(id)
                        && entry.status.state == store::ObjectState::Refused
                    {
                        entry.status.applied_epoch = 0;
                    }
                }
                self.queue().extend(ids);
            }
            Hint::Member(cluster) if cluster == self.name() => {
                let same = self.delivery().registry.get(self.cluster()).is_some_and(|member| member.is(self.member()));
                if same {
                    // It was joined again or its credential is new: it may grant more, or less, than before.
                    self.rediscover().await;
                }
                return Ok(!same);
            }
            Hint::Everything => self.read_everything().await?,
            _ => {}
        }
        Ok(false)
    }

    /// Hints were lost: whatever they said is read.
    async fn read_everything(&self) -> Result<(), StoreError> {
        self.revisions().all_changed();
        self.read_topology(Instant::now()).await?;
        self.read_rows(Rows::All).await
    }

    async fn rediscover(&self) {
        let Ok(Some(row)) = registered(self.delivery(), self.name()).await else { return };
        match meet(self.member(), &row.taken.member_uid).await {
            Ok(contact) => self.met_again(contact),
            Err(trouble) => {
                tracing::debug!(cluster = self.name(), reason = trouble.reason, "kinds were not read again");
            }
        }
    }

    async fn write_pulse(&self, pulse: &mut Pulse, watched: &mut Watched) -> Result<(), StoreError> {
        let zones =
            self.fleet().topology.clusters.get(self.cluster()).map(|facts| facts.zones.clone()).unwrap_or_default();
        let capacity = watched.census.capacity(&zones, self.ours().await);
        let contact = self.contact();
        pulse.nodes(watched.census.ready_nodes());
        let status = pulse.status(watched.complete(self), |before| ClusterStatusRow {
            version: Some(contact.version.clone()),
            installation: contact.installation.and_then(|version| i32::try_from(version).ok()),
            kinds: contact.kind_names().into(),
            capacity: capacity
                .and_then(|capacity| serde_json::to_value(capacity).ok())
                .unwrap_or_else(|| before.capacity.clone()),
            ..before
        });
        let metrics = &self.delivery().metrics;
        metrics.orphans.get_or_create(&self.label()).set(self.board().orphans() as i64);
        metrics.followed.get_or_create(&self.label()).set(i64::from(watched.complete(self)));
        let Some(write) = pulse.due(&status) else { return Ok(()) };
        let store = &self.delivery().store;
        match (write, status.checked_at) {
            (PulseWrite::Sign, Some(now)) => store.cluster_seen(self.claim(), self.name(), status.as_of, now).await?,
            _ => store.cluster_status_set(self.claim(), self.name(), &status).await?,
        }
        if write == PulseWrite::Decisive {
            tracing::info!(
                cluster = self.name(),
                health = status.health,
                reason = status.reason,
                message = status.message,
                "member"
            );
        }
        let name = self.name().to_owned();
        self.delivery().hints.send(match write {
            PulseWrite::Decisive => Hint::Health(name),
            PulseWrite::Numbers => Hint::Capacity(name),
            PulseWrite::Sign => Hint::Seen(name),
        });
        pulse.wrote(status);
        Ok(())
    }

    /// What pods of delivered workloads ask for in all.
    async fn ours(&self) -> Amounts {
        let mut sum = Amounts::default();
        let mut unknown = Vec::new();
        for entry in self.board().entries.values().filter(|entry| entry.status.replicas > 0) {
            let revision = entry.status.applied_revision.as_ref().unwrap_or(&entry.row.revision);
            match &entry.pod {
                Some((known, pod)) if known == revision => add(&mut sum, *pod, i64::from(entry.status.replicas)),
                _ => unknown.push((entry.row.id, entry.row.app, revision.clone(), entry.row.component.clone())),
            }
        }
        for (id, app, bytes, component) in unknown {
            let Ok(facts) = self.revisions().app(app).await else { continue };
            let Ok(revision) = self.revisions().revision(app, &facts.key, &bytes).await else { continue };
            let found = revision.blueprint.components.iter().find(|known| known.name == component);
            if let (Some(found), Some(entry)) = (found, self.board().entries.get_mut(&id)) {
                add(&mut sum, found.pod, i64::from(entry.status.replicas));
                entry.pod = Some((bytes, found.pod));
            }
        }
        sum
    }
}
