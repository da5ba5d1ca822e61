//! Delivery to one cluster, from taking its lease to losing it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use domain::render::Blueprint;
use domain::stored_topology::{StoredCell, StoredCluster, topology_from_rows};
use domain::topology::Topology;
use futures::StreamExt;
use futures::stream::SelectAll;
use jiff::Timestamp;
use members::{ApiKind, Member, MemberError, WatchEvent};
use runtime::queue::Queue;
use serde_json::Value;
use store::{Claim, ClusterStatusRow, Hint, PlacementId, StatusRow, StoreError};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use vocabulary::{ClusterName, Fence, ObjectKey, Verdict, labels};

use crate::act;
use crate::board::{Board, Entry, GroupKind, ObjectId, object_id};
use crate::capacity::{Census, add};
use crate::contact::{Contact, Trouble, meet};
use crate::live::Live;
use crate::metrics::{ClusterLabel, FailureLabel};
use crate::revisions::Revisions;
use crate::sink::Sink;
use crate::{Delivery, DeliveryTimes};

/// Objects worked on at once.
const WORKERS: usize = 24;
/// Pause before the next try to meet a member that cannot be used.
const MEET_AGAIN: Duration = Duration::from_secs(2);

/// Why delivery to a cluster ended.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// The database does not let us go on.
    #[error("delivery to {cluster} stopped")]
    Store {
        /// Cluster.
        cluster: String,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// The cluster is not registered any more.
    #[error("cluster {0} is gone")]
    Gone(String),
}

/// The error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// Delivers to one cluster under the claim until `shutdown`.
///
/// # Errors
/// When the lease is lost, the database does not answer or the cluster is gone; whoever holds the lease next goes on
/// from the rows.
pub async fn run(
    delivery: Delivery,
    cluster: ClusterName,
    claim: Claim,
    shutdown: CancellationToken,
) -> Result<(), DeliveryError> {
    let name = cluster.to_string();
    let stopped = |source| DeliveryError::Store { cluster: name.clone(), source };
    let mut hints = delivery.hints.subscribe();
    let expected =
        registered_uid(&delivery, &name).await.map_err(stopped)?.ok_or_else(|| DeliveryError::Gone(name.clone()))?;
    // Meet the member; say why not as long as that fails.
    let (member, contact) = loop {
        let met = match delivery.registry.get(&cluster) {
            Some(member) => meet(&member, &expected).await.map(|contact| (member, contact)),
            None => Err(Trouble {
                verdict: Verdict::Unknown,
                reason: "NoCredential",
                message: format!("no credential was handed over yet; run `meridian cluster update-credential {name}`"),
            }),
        };
        match met {
            Ok(met) => break met,
            Err(trouble) => say(&delivery, &claim, &name, &trouble).await.map_err(stopped)?,
        }
        let again = tokio::time::sleep(MEET_AGAIN);
        tokio::pin!(again);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = &mut again => break,
                hint = hints.recv() => match hint.as_deref() {
                    Ok(Hint::Member(changed)) if *changed == name => break,
                    Ok(_) | Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {}
                    Err(tokio::sync::broadcast::error::RecvError::Closed) => return Ok(()),
                },
            }
        }
    };
    let session = Session::begin(delivery, cluster, member, contact, claim).await.map_err(stopped)?;
    session.run(hints, shutdown).await.map_err(stopped)
}

async fn registered_uid(delivery: &Delivery, name: &str) -> Result<Option<String>, StoreError> {
    let rows = delivery.store.cluster_list().await?;
    Ok(rows.into_iter().find(|row| row.taken.name == name).map(|row| row.taken.member_uid))
}

/// Writes that a member cannot be used. What was known of it stays, with its age.
async fn say(delivery: &Delivery, claim: &Claim, name: &str, trouble: &Trouble) -> Result<(), StoreError> {
    let rows = delivery.store.cluster_list().await?;
    let Some(row) = rows.into_iter().find(|row| row.taken.name == name) else { return Ok(()) };
    let before = row.status.clone();
    let status = ClusterStatusRow {
        health: format!("{:?}", trouble.verdict),
        reason: trouble.reason.to_owned(),
        message: trouble.message.clone(),
        ..row.status.unwrap_or(ClusterStatusRow {
            health: String::new(),
            reason: String::new(),
            message: String::new(),
            as_of: None,
            version: None,
            kinds: Value::Array(Vec::new()),
            capacity: Value::Array(Vec::new()),
        })
    };
    if before.as_ref() != Some(&status) {
        tracing::warn!(cluster = name, reason = trouble.reason, message = trouble.message, "member cannot be used");
        delivery.store.cluster_status_set(claim, name, &status).await?;
        delivery.hints.send(Hint::Topology);
    }
    Ok(())
}

/// Delivery to a member that was met.
#[derive(Debug, Clone)]
pub(crate) struct Session(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    delivery: Delivery,
    cluster: ClusterName,
    claim: Claim,
    member: Member,
    contact: ArcSwap<Contact>,
    generation: u32,
    topology: ArcSwap<Topology>,
    authorities: ArcSwap<BTreeMap<String, u32>>,
    board: Mutex<Board>,
    revisions: Revisions,
    queue: Queue<PlacementId>,
    sink: Sink,
    namespaces: Mutex<BTreeSet<String>>,
}

enum Source {
    Objects(ApiKind),
    Nodes,
    Pods,
}

impl Session {
    async fn begin(
        delivery: Delivery,
        cluster: ClusterName,
        member: Member,
        contact: Contact,
        claim: Claim,
    ) -> Result<Self, StoreError> {
        let generation = delivery.store.identity_generation().await?;
        let revisions = Revisions::new(delivery.store.clone(), Arc::clone(&delivery.key));
        let session = Self(Arc::new(Inner {
            delivery,
            cluster,
            claim,
            member,
            contact: ArcSwap::from_pointee(contact),
            generation,
            topology: ArcSwap::from_pointee(Topology::default()),
            authorities: ArcSwap::from_pointee(BTreeMap::new()),
            board: Mutex::default(),
            revisions,
            queue: Queue::default(),
            sink: Sink::default(),
            namespaces: Mutex::default(),
        }));
        session.read_topology().await?;
        session.read_rows(None).await?;
        let status = session.delivery().store.status_in_cluster(session.name()).await?;
        session.board().take_status(status);
        Ok(session)
    }

    pub(crate) fn delivery(&self) -> &Delivery {
        &self.0.delivery
    }

    pub(crate) fn member(&self) -> &Member {
        &self.0.member
    }

    pub(crate) fn revisions(&self) -> &Revisions {
        &self.0.revisions
    }

    pub(crate) fn topology(&self) -> Arc<Topology> {
        self.0.topology.load_full()
    }

    pub(crate) fn board(&self) -> MutexGuard<'_, Board> {
        self.0.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn name(&self) -> &str {
        self.0.cluster.as_str()
    }

    fn times(&self) -> DeliveryTimes {
        self.0.delivery.times
    }

    pub(crate) fn label(&self) -> ClusterLabel {
        ClusterLabel { cluster: self.name().to_owned() }
    }

    pub(crate) fn failure(&self, reason: &'static str) -> FailureLabel {
        FailureLabel { cluster: self.name().to_owned(), reason }
    }

    /// The fence an entry's object is to carry.
    pub(crate) fn fence(&self, entry: &Entry) -> Fence {
        let authorities = self.0.authorities.load();
        let authority = authorities.get(&entry.row.cell).copied().unwrap_or(1);
        Fence { generation: self.0.generation, authority, plan: entry.row.plan_epoch }
    }

    /// The kind of an object as the member serves it.
    pub(crate) fn kind(&self, object: &ObjectKey) -> Result<ApiKind, act::ActError> {
        self.0.contact.load().kind(&object.api_version, &object.kind).cloned().ok_or_else(|| {
            act::ActError::Waits(format!(
                "cluster {} does not serve {} {} or does not let us write it; see `meridian cluster permissions {0}`",
                self.name(),
                object.api_version,
                object.kind
            ))
        })
    }

    pub(crate) async fn ensure_namespace(&self, namespace: &str) -> Result<(), MemberError> {
        let known =
            |session: &Self| session.0.namespaces.lock().unwrap_or_else(PoisonError::into_inner).contains(namespace);
        if !known(self) {
            self.member().ensure_namespace(namespace).await?;
            self.0.namespaces.lock().unwrap_or_else(PoisonError::into_inner).insert(namespace.to_owned());
        }
        Ok(())
    }

    /// Takes what became of a step, folds in what was observed meanwhile, and sends the result to the database.
    pub(crate) fn record(&self, entry: &Entry, done: StatusRow) {
        let mut board = self.board();
        let Some(now) = board.entries.get_mut(&entry.row.id) else { return };
        let seen = now.status.clone();
        now.status = StatusRow {
            object_uid: seen.object_uid,
            observed_epoch: seen.observed_epoch,
            replicas: seen.replicas,
            ready: seen.ready,
            available: seen.available,
            updated: seen.updated,
            settled: seen.settled,
            ..done
        };
        let unobserved = now.status.clone();
        let status = board.observe(entry.row.id, Timestamp::now()).unwrap_or(unobserved);
        // Under the board's lock: an older status must not overtake this one on its way out.
        if !status.same_facts(&entry.status) {
            self.0.sink.push(entry.row.app, status);
        }
    }

    /// Remembers the fields that the member said we own after an apply.
    pub(crate) fn applied(&self, entry: &Entry, fields: Option<Value>) {
        if let Some(now) = self.board().entries.get_mut(&entry.row.id) {
            now.applied_fields = fields;
        }
    }

    /// Takes a live object from an answer of the member.
    pub(crate) fn saw(&self, api_version: &str, kind: &str, object: &Value) {
        if let Some(live) = Live::read(api_version, kind, object) {
            self.board().upsert(live);
        }
    }

    pub(crate) fn push_siblings(&self, id: PlacementId) {
        let siblings = self.board().siblings(id);
        self.0.queue.extend(siblings);
    }

    async fn read_topology(&self) -> Result<(), StoreError> {
        let store = &self.delivery().store;
        let clusters = store.cluster_list().await?.into_iter().map(|row| StoredCluster {
            name: row.taken.name,
            labels: row.taken.labels,
            spec: row.taken.spec,
            leaving: row.taken.removal.is_some(),
            health: None,
            kinds: Value::Null,
            capacity: Value::Null,
        });
        let rows = store.cell_list().await?;
        let authorities = rows.iter().map(|row| (row.name.clone(), row.authority)).collect();
        let cells = rows
            .into_iter()
            .filter_map(|row| Some(StoredCell { name: row.name, labels: row.labels, spec: row.spec? }))
            .collect();
        let (topology, _) = topology_from_rows(clusters.collect(), cells);
        self.0.topology.store(Arc::new(topology));
        self.0.authorities.store(Arc::new(authorities));
        Ok(())
    }

    async fn read_rows(&self, ids: Option<&[PlacementId]>) -> Result<(), StoreError> {
        let rows = self.delivery().store.placement_in_cluster(self.name(), ids).await?;
        let touched = self.board().take_rows(rows, ids.is_none(), Timestamp::now());
        self.0.queue.extend(touched);
        Ok(())
    }

    async fn run(
        &self,
        mut hints: tokio::sync::broadcast::Receiver<Arc<Hint>>,
        shutdown: CancellationToken,
    ) -> Result<(), StoreError> {
        let inner = &self.0;
        let ended = shutdown.child_token();
        let work = self.work();
        let sink = inner.sink.run(&inner.delivery.store, &inner.claim, &inner.delivery.hints, ended.clone());
        let watch = self.watch(&mut hints);
        tokio::pin!(work, sink, watch);
        let outcome = tokio::select! {
            () = shutdown.cancelled() => Ok(()),
            () = &mut work => Ok(()),
            outcome = &mut watch => outcome,
            outcome = &mut sink => outcome,
        };
        ended.cancel();
        outcome
    }

    async fn work(&self) {
        let mut running = tokio::task::JoinSet::new();
        loop {
            tokio::select! {
                ids = self.0.queue.take(1), if running.len() < WORKERS => {
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
        let queue = &self.0.queue;
        if act::work(&self, id).await {
            queue.fail(&id);
        } else {
            queue.finish(&id);
        }
        self.delivery().metrics.depth.get_or_create(&self.label()).set(queue.depth() as i64);
    }

    /// Follows the member and the rows.
    async fn watch(&self, hints: &mut tokio::sync::broadcast::Receiver<Arc<Hint>>) -> Result<(), StoreError> {
        let times = self.times();
        let mut watched = Watched::new(self);
        let (probed, mut probes) = mpsc::channel::<Result<(), Trouble>>(1);
        let mut probe = tokio::time::interval(times.probe);
        let mut reread = tokio::time::interval_at(Instant::now() + times.reread, times.reread);
        let mut rediscover = tokio::time::interval_at(Instant::now() + times.rediscover, times.rediscover);
        for ticks in [&mut probe, &mut reread, &mut rediscover] {
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        }
        let mut pulse = Pulse::new(times);
        loop {
            watched.cover(self);
            tokio::select! {
                Some((source, event)) = watched.streams.next() => {
                    let listed = matches!(event, WatchEvent::Synced { .. });
                    let (event, trouble) = match event {
                        WatchEvent::Down(error) => (None, Some(Trouble::of(&error))),
                        event => (Some(event), None),
                    };
                    match (event, trouble) {
                        (Some(event), _) => { pulse.alive(); watched.take(self, &source, event); }
                        (None, Some(trouble)) => pulse.trouble(trouble),
                        (None, None) => {}
                    }
                    if listed && watched.complete(self) {
                        self.write_pulse(&mut pulse, &mut watched).await?;
                    }
                }
                Some(outcome) = probes.recv() => match outcome {
                    Ok(()) => pulse.alive(),
                    Err(trouble) => pulse.trouble(trouble),
                },
                _ = probe.tick() => {
                    if pulse.is_quiet() && probed.capacity() > 0 {
                        let (member, probed) = (self.member().clone(), probed.clone());
                        // Bounded by the request time-out of the member, and by the channel: one at a time.
                        tokio::spawn(async move {
                            let outcome = member.probe().await.map(|_| ()).map_err(|error| Trouble::of(&error));
                            let _ = probed.try_send(outcome);
                        });
                    }
                    self.write_pulse(&mut pulse, &mut watched).await?;
                }
                _ = reread.tick() => { self.read_topology().await?; self.read_rows(None).await?; }
                _ = rediscover.tick() => self.rediscover().await,
                hint = hints.recv() => match hint {
                    Ok(hint) => if self.hear(&hint).await? { return Ok(()) },
                    Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => { self.read_topology().await?; self.read_rows(None).await?; }
                    Err(tokio::sync::broadcast::error::RecvError::Closed) => return Ok(()),
                },
            }
        }
    }

    /// Acts on a hint. True when the session must begin anew: the connection changed.
    async fn hear(&self, hint: &Hint) -> Result<bool, StoreError> {
        match hint {
            Hint::Deliver(cluster, ids) if cluster == self.name() => self.read_rows(Some(ids)).await?,
            Hint::Decide(app) => {
                self.revisions().app_changed(*app);
                let ids: Vec<PlacementId> = self.board().of_app(*app).map(|entry| entry.row.id).collect();
                for id in &ids {
                    // A refusal may have become void: adoption may be allowed now.
                    if let Some(entry) = self.board().entries.get_mut(id)
                        && entry.status.state == store::ObjectState::Refused
                    {
                        entry.status.applied_epoch = 0;
                    }
                }
                self.0.queue.extend(ids);
            }
            Hint::Topology => self.read_topology().await?,
            Hint::Member(cluster) if cluster == self.name() => {
                let same = self.delivery().registry.get(&self.0.cluster).is_some_and(|member| member.is(self.member()));
                return Ok(!same);
            }
            Hint::Everything => {
                self.revisions().all_changed();
                self.read_topology().await?;
                self.read_rows(None).await?;
            }
            _ => {}
        }
        Ok(false)
    }

    async fn rediscover(&self) {
        let Ok(Some(expected)) = registered_uid(self.delivery(), self.name()).await else { return };
        match meet(self.member(), &expected).await {
            Ok(contact) => self.0.contact.store(Arc::new(contact)),
            Err(trouble) => {
                tracing::debug!(cluster = self.name(), reason = trouble.reason, "kinds were not read again");
            }
        }
    }

    async fn write_pulse(&self, pulse: &mut Pulse, watched: &mut Watched) -> Result<(), StoreError> {
        let (verdict, reason, message) = pulse.verdict(watched.complete(self));
        let zones = self.topology().clusters.get(&self.0.cluster).map(|facts| facts.zones.clone()).unwrap_or_default();
        let ours = self.ours().await;
        let capacity = watched.census.capacity(&zones, ours);
        let contact = self.0.contact.load_full();
        let status = ClusterStatusRow {
            health: format!("{verdict:?}"),
            reason: reason.to_owned(),
            message,
            as_of: pulse.last_sign(),
            version: Some(contact.version.clone()),
            kinds: contact.kind_names().into(),
            capacity: match capacity {
                Some(capacity) => serde_json::to_value(capacity).unwrap_or_default(),
                None => pulse.written.as_ref().map_or(Value::Array(Vec::new()), |written| written.capacity.clone()),
            },
        };
        self.delivery().metrics.orphans.get_or_create(&self.label()).set(self.board().orphans() as i64);
        let store = &self.delivery().store;
        let same = pulse
            .written
            .as_ref()
            .is_some_and(|written| ClusterStatusRow { as_of: status.as_of, ..written.clone() } == status);
        if !same {
            let decisive = pulse
                .written
                .as_ref()
                .is_none_or(|written| written.health != status.health || written.kinds != status.kinds);
            if decisive {
                tracing::info!(
                    cluster = self.name(),
                    health = status.health,
                    reason = status.reason,
                    message = status.message,
                    "member"
                );
            }
            store.cluster_status_set(&self.0.claim, self.name(), &status).await?;
            let hint = if decisive { Hint::Topology } else { Hint::Capacity(self.name().to_owned()) };
            self.delivery().hints.send(hint);
            pulse.wrote(status);
        } else if pulse.heartbeat_due()
            && let Some(as_of) = status.as_of
        {
            store.cluster_seen(&self.0.claim, self.name(), as_of).await?;
            self.delivery().hints.send(Hint::Capacity(self.name().to_owned()));
            pulse.wrote(status);
        }
        Ok(())
    }

    /// What pods of delivered workloads ask for in all.
    async fn ours(&self) -> crds::cluster::v1alpha1::Amounts {
        let running: Vec<(store::AppId, Vec<u8>, String, i32)> = self
            .board()
            .entries
            .values()
            .filter(|entry| entry.status.replicas > 0)
            .map(|entry| {
                let revision = entry.status.applied_revision.clone().unwrap_or_else(|| entry.row.revision.clone());
                (entry.row.app, revision, entry.row.component.clone(), entry.status.replicas)
            })
            .collect();
        let mut sum = crds::cluster::v1alpha1::Amounts::default();
        for (app, revision, component, replicas) in running {
            let Ok(facts) = self.revisions().app(app).await else { continue };
            let Ok(revision) = self.revisions().revision(app, &facts.key, &revision).await else { continue };
            if let Some(component) = revision.blueprint.components.iter().find(|known| known.name == component) {
                add(&mut sum, component.pod, i64::from(replicas));
            }
        }
        sum
    }
}

/// Names of sibling objects, for references between components.
impl Board {
    pub(crate) fn sibling_names(&self, entry: &Entry, blueprint: &Blueprint) -> BTreeMap<(String, String), String> {
        self.of_app(entry.row.app)
            .filter(|other| other.row.cell == entry.row.cell || other.row.cell == other.row.cluster)
            .filter_map(|other| {
                let component = blueprint.components.iter().find(|component| component.name == other.row.component)?;
                Some(((component.kind.clone(), component.object_name.clone()), other.row.object.name.clone()))
            })
            .collect()
    }
}

/// The watches of a session and what they count.
struct Watched {
    streams: SelectAll<futures::stream::BoxStream<'static, (Arc<Source>, WatchEvent)>>,
    kinds: HashSet<GroupKind>,
    listed: HashMap<GroupKind, HashSet<ObjectId>>,
    census: Census,
}

impl Watched {
    fn new(session: &Session) -> Self {
        let mut streams = SelectAll::new();
        let nodes = ApiKind::cluster_scoped("", "v1", "Node", "nodes");
        let pods = ApiKind::namespaced("", "v1", "Pod", "pods");
        for (kind, source) in [(nodes, Source::Nodes), (pods, Source::Pods)] {
            let source = Arc::new(source);
            let stream = session.member().watch(&kind, "");
            streams.push(stream.map(move |event| (Arc::clone(&source), event)).boxed());
        }
        Self { streams, kinds: HashSet::new(), listed: HashMap::new(), census: Census::default() }
    }

    /// Begins to watch kinds that rows are of and that are not watched yet.
    fn cover(&mut self, session: &Session) {
        let wanted = session.board().kinds();
        if wanted.keys().all(|kind| self.kinds.contains(kind)) {
            return;
        }
        for kind in session.0.contact.load().watchable(&wanted) {
            if self.kinds.insert((kind.group.clone(), kind.kind.clone())) {
                let source = Arc::new(Source::Objects(kind.clone()));
                let stream = session.member().watch(&kind, &format!("{}=true", labels::MANAGED));
                self.streams.push(stream.map(move |event| (Arc::clone(&source), event)).boxed());
            }
        }
    }

    /// Everything watched was listed once.
    fn complete(&self, session: &Session) -> bool {
        let board = session.board();
        self.kinds.iter().all(|kind| board.is_synced(kind))
            && self.census.capacity(&[], crds::cluster::v1alpha1::Amounts::default()).is_some()
    }

    fn take(&mut self, session: &Session, source: &Source, event: WatchEvent) {
        match source {
            Source::Objects(kind) => self.object(session, kind, event),
            Source::Nodes => match event {
                WatchEvent::Reset => self.census.reset_nodes(),
                WatchEvent::Synced { .. } => self.census.nodes_synced(),
                WatchEvent::Upsert(bytes) => {
                    if let Ok(object) = serde_json::from_slice(&bytes) {
                        self.census.node(&object);
                    }
                }
                WatchEvent::Delete(gone) => self.census.node_gone(&gone.key.name),
                WatchEvent::Bookmark { .. } | WatchEvent::Down(_) => {}
            },
            Source::Pods => match event {
                WatchEvent::Reset => self.census.reset_pods(),
                WatchEvent::Synced { .. } => self.census.pods_synced(),
                WatchEvent::Upsert(bytes) => {
                    if let Ok(object) = serde_json::from_slice(&bytes) {
                        self.census.pod(&object);
                    }
                }
                WatchEvent::Delete(gone) => self.census.pod_gone(&gone.key.namespace, &gone.key.name),
                WatchEvent::Bookmark { .. } | WatchEvent::Down(_) => {}
            },
        }
    }

    fn object(&mut self, session: &Session, kind: &ApiKind, event: WatchEvent) {
        let group_kind = (kind.group.clone(), kind.kind.clone());
        let now = Timestamp::now();
        let touched: Vec<PlacementId> = match event {
            WatchEvent::Reset => {
                self.listed.insert(group_kind.clone(), HashSet::new());
                session.board().reset(&group_kind);
                return;
            }
            WatchEvent::Upsert(bytes) => {
                let Ok(object) = serde_json::from_slice::<Value>(&bytes) else { return };
                let Some(mut live) = Live::read(&kind.api_version(), &kind.kind, &object) else { return };
                if let Some(listed) = self.listed.get_mut(&group_kind) {
                    listed.insert(object_id(&live.key));
                }
                let mut board = session.board();
                live.lost = lost(&board, &live, &object);
                board.upsert(live).into_iter().collect()
            }
            WatchEvent::Delete(gone) => session.board().delete(&gone.key, &gone.uid).into_iter().collect(),
            WatchEvent::Synced { .. } => {
                let named = self.listed.remove(&group_kind).unwrap_or_default();
                let touched = session.board().sync(&group_kind, &named);
                // Everything that waited for the list.
                session.0.queue.extend(touched.iter().copied());
                touched
            }
            WatchEvent::Bookmark { .. } | WatchEvent::Down(_) => return,
        };
        for id in touched {
            let mut board = session.board();
            let observed = board.observe(id, now);
            let app = board.entries.get(&id).map(|entry| entry.row.app);
            // Under the board's lock: see `record`.
            if let (Some(status), Some(app)) = (observed, app) {
                session.0.sink.push(app, status);
            }
            drop(board);
            session.0.queue.push(id);
        }
    }
}

/// Names the fields that were ours after the last apply and are not in the object as it is now.
fn lost(board: &Board, live: &Live, object: &Value) -> Vec<String> {
    let entry = board.placement_of(&live.key).and_then(|id| board.entries.get(&id));
    let Some(applied) = entry.and_then(|entry| entry.applied_fields.as_ref()) else { return Vec::new() };
    domain::render::lost_fields(applied, domain::render::our_fields(object))
}

/// Signs of life of a member.
struct Pulse {
    times: DeliveryTimes,
    last: Option<(Instant, Timestamp)>,
    trouble: Option<Trouble>,
    written: Option<ClusterStatusRow>,
    written_at: Instant,
}

impl Pulse {
    fn new(times: DeliveryTimes) -> Self {
        // It was met a moment ago.
        let now = (Instant::now(), Timestamp::now());
        Self { times, last: Some(now), trouble: None, written: None, written_at: Instant::now() }
    }

    fn alive(&mut self) {
        self.last = Some((Instant::now(), Timestamp::now()));
        self.trouble = None;
    }

    fn trouble(&mut self, trouble: Trouble) {
        self.trouble = Some(trouble);
    }

    fn is_quiet(&self) -> bool {
        self.last.is_none_or(|(at, _)| at.elapsed() >= self.times.probe)
    }

    fn last_sign(&self) -> Option<Timestamp> {
        self.last.map(|(_, at)| at)
    }

    fn verdict(&self, complete: bool) -> (Verdict, &'static str, String) {
        let silent = self.last.is_none_or(|(at, _)| at.elapsed() >= self.times.silence);
        match &self.trouble {
            Some(trouble) if trouble.verdict == Verdict::Fail => {
                (trouble.verdict, trouble.reason, trouble.message.clone())
            }
            Some(trouble) if silent => (trouble.verdict, trouble.reason, trouble.message.clone()),
            _ if silent => (
                Verdict::Unknown,
                "Silent",
                format!("no sign of life for {} s; what runs there is unknown", self.times.silence.as_secs()),
            ),
            _ if complete => {
                (Verdict::Pass, "Ready", "the member answers and everything delivered there is followed".to_owned())
            }
            _ => (Verdict::Unknown, "Listing", "what runs there is being read".to_owned()),
        }
    }

    fn heartbeat_due(&self) -> bool {
        self.written_at.elapsed() >= self.times.heartbeat
    }

    fn wrote(&mut self, status: ClusterStatusRow) {
        self.written = Some(status);
        self.written_at = Instant::now();
    }
}
