//! Watches of a session: their events, the state derived from them, and how current each is.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::SelectAll;
use jiff::Timestamp;
use members::{ApiKind, MemberError, Selection, WatchEvent};
use serde_json::Value;
use store::PlacementId;
use tokio::time::Instant;
use vocabulary::labels;

use crate::handshake::MemberInfo;
use crate::observe::capacity::CapacityTracker;
use crate::observe::cluster_state::ClusterState;
use crate::observe::entry::{GroupKind, ObjectId, object_id};
use crate::observe::observed_object::{ObservedObject, without_template};
use crate::observe::watch_state::{FollowState, StreamState};
use crate::session::Session;

/// Target of a watch.
#[derive(Debug)]
pub(crate) enum WatchedKind {
    Objects(ApiKind),
    Nodes,
    Pods,
}

/// Watches of a session and the state derived from their events.
pub(crate) struct Watches {
    streams: SelectAll<futures::stream::BoxStream<'static, (Arc<WatchedKind>, WatchEvent)>>,
    kinds: BTreeMap<GroupKind, StreamState>,
    nodes: StreamState,
    pods: StreamState,
    listed: HashMap<GroupKind, HashSet<ObjectId>>,
    /// Kinds epoch and member info for which the watches were last started.
    covered: Option<(u64, Arc<MemberInfo>)>,
    lacks_kinds: bool,
    pub(crate) capacity_tracker: CapacityTracker,
}

impl Watches {
    pub(crate) fn new(session: &Session) -> Self {
        let mut streams = SelectAll::new();
        let nodes = ApiKind::cluster_scoped("", "v1", "Node", "nodes");
        let pods = ApiKind::namespaced("", "v1", "Pod", "pods");
        // Watches only pods that occupy a node, because most events of a pod occur before or after that.
        let bound = Selection::fields("spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed");
        for (kind, source, selected) in
            [(nodes, WatchedKind::Nodes, Selection::default()), (pods, WatchedKind::Pods, bound)]
        {
            let source = Arc::new(source);
            let stream = session.member().watch(&kind, &selected);
            streams.push(stream.map(move |event| (Arc::clone(&source), event)).boxed());
        }
        Self {
            streams,
            kinds: BTreeMap::new(),
            nodes: StreamState::begun(),
            pods: StreamState::begun(),
            listed: HashMap::new(),
            covered: None,
            lacks_kinds: false,
            capacity_tracker: CapacityTracker::default(),
        }
    }

    /// Starts watches of the kinds of rows that are not watched yet.
    ///
    /// Does nothing while neither the kinds of the rows nor the member info changed.
    pub(crate) fn cover(&mut self, session: &Session) {
        let member_info = session.member_info();
        let wanted = {
            let cluster_state = session.cluster_state();
            let epoch = cluster_state.kinds_epoch();
            if self.covered.as_ref().is_some_and(|(known, met)| *known == epoch && Arc::ptr_eq(met, &member_info)) {
                return;
            }
            self.covered = Some((epoch, Arc::clone(&member_info)));
            cluster_state.kinds().clone()
        };
        let watchable = member_info.watchable(&wanted);
        self.lacks_kinds = watchable.len() < wanted.len();
        for kind in watchable {
            let group_kind = (kind.group.clone(), kind.kind.clone());
            if self.kinds.contains_key(&group_kind) {
                continue;
            }
            self.kinds.insert(group_kind, StreamState::begun());
            let source = Arc::new(WatchedKind::Objects(kind.clone()));
            let ours = Selection::labels(format!("{}=true", labels::MANAGED));
            let stream = session.member().watch(&kind, &ours);
            self.streams.push(stream.map(move |event| (Arc::clone(&source), event)).boxed());
        }
    }

    /// Whether the member does not serve or does not let us deliver a kind of some row.
    pub(crate) fn lacks_kinds(&self) -> bool {
        self.lacks_kinds
    }

    /// Returns the next event of any watch.
    pub(crate) async fn next(&mut self) -> Option<(Arc<WatchedKind>, WatchEvent)> {
        self.streams.next().await
    }

    /// Excludes a time from the silence of all watches in which this process did not listen.
    pub(crate) fn exclude_from_silence(&mut self, duration: Duration) {
        for following in self.kinds.values_mut().chain([&mut self.nodes, &mut self.pods]) {
            following.exclude_from_silence(duration);
        }
    }

    /// Marks rows of kinds that cannot be followed for `silence`, and returns the state of all watches.
    pub(crate) fn judge(&mut self, session: &Session, silence: Duration) -> FollowState {
        let now = Instant::now();
        let with_rows: HashSet<GroupKind> = session.cluster_state().row_kinds();
        for (kind, following) in &self.kinds {
            let why = following.lost_for(now, silence).map(|why| format!("{} cannot be followed there: {why}", kind.1));
            mark(session, kind, why);
        }
        let essential = [("nodes", &self.nodes), ("pods", &self.pods)];
        let delivered = self.kinds.iter().filter(|(kind, _)| with_rows.contains(*kind));
        FollowState::of(now, silence, essential, delivered.map(|(kind, following)| (kind.1.as_str(), following)))
    }

    /// Handles an event of a watch. Returns whether the event completed a list.
    pub(crate) fn take(&mut self, session: &Session, source: &WatchedKind, event: WatchEvent) -> bool {
        let is_synced = matches!(event, WatchEvent::Synced { .. });
        let following = match source {
            WatchedKind::Objects(kind) => self.kinds.get_mut(&(kind.group.clone(), kind.kind.clone())),
            WatchedKind::Nodes => Some(&mut self.nodes),
            WatchedKind::Pods => Some(&mut self.pods),
        };
        if let Some(following) = following {
            following.take(&event);
        }
        match source {
            WatchedKind::Objects(kind) => self.object(session, kind, event),
            WatchedKind::Nodes => match event {
                WatchEvent::Reset => self.capacity_tracker.reset_nodes(),
                WatchEvent::Synced { .. } => self.capacity_tracker.nodes_synced(),
                WatchEvent::Upsert(bytes) => {
                    if let Ok(object) = serde_json::from_slice(&bytes) {
                        self.capacity_tracker.node(&object);
                    }
                }
                WatchEvent::Delete(gone) => self.capacity_tracker.node_gone(&gone.key.name),
                WatchEvent::Opened | WatchEvent::Bookmark { .. } | WatchEvent::Down(_) => {}
            },
            WatchedKind::Pods => match event {
                WatchEvent::Reset => self.capacity_tracker.reset_pods(),
                WatchEvent::Synced { .. } => self.capacity_tracker.pods_synced(),
                WatchEvent::Upsert(bytes) => {
                    if let Ok(object) = serde_json::from_slice(&bytes) {
                        self.capacity_tracker.pod(&object);
                    }
                }
                WatchEvent::Delete(gone) => self.capacity_tracker.pod_gone(&gone.key.namespace, &gone.key.name),
                WatchEvent::Opened | WatchEvent::Bookmark { .. } | WatchEvent::Down(_) => {}
            },
        }
        is_synced
    }

    fn object(&mut self, session: &Session, kind: &ApiKind, event: WatchEvent) {
        let group_kind = (kind.group.clone(), kind.kind.clone());
        if self.kinds.get(&group_kind).is_some_and(StreamState::is_followed) {
            mark(session, &group_kind, None);
        }
        let mut asks_for_work = true;
        let touched: Vec<PlacementId> = match event {
            WatchEvent::Reset => {
                self.listed.insert(group_kind.clone(), HashSet::new());
                session.cluster_state().reset(&group_kind);
                return;
            }
            WatchEvent::Upsert(bytes) => {
                let Ok(object) = without_template(&bytes) else { return };
                let Some(mut live) = ObservedObject::read(&kind.api_version(), &kind.kind, &object) else { return };
                if let Some(listed) = self.listed.get_mut(&group_kind) {
                    listed.insert(object_id(&live.key));
                }
                let mut cluster_state = session.cluster_state();
                live.lost = lost(&cluster_state, &live, &object);
                // Most events change only numbers in the object's status and need no write.
                asks_for_work = cluster_state.live(&live.key).is_none_or(|known| !known.is_told_alike(&live));
                cluster_state.upsert(live).into_iter().collect()
            }
            WatchEvent::Delete(gone) => session.cluster_state().delete(&gone.key, &gone.uid).into_iter().collect(),
            WatchEvent::Synced { .. } => {
                let named = self.listed.remove(&group_kind).unwrap_or_default();
                let touched = session.cluster_state().sync(&group_kind, &named);
                // Queues all rows that waited for the list.
                session.queue().extend(touched.iter().copied());
                touched
            }
            WatchEvent::Opened | WatchEvent::Bookmark { .. } | WatchEvent::Down(_) => return,
        };
        observe(session, touched, asks_for_work);
    }
}

/// Marks the rows of a kind as stale or as followed again, and queues the changed status.
fn mark(session: &Session, kind: &GroupKind, why: Option<String>) {
    let (is_lost, touched) = (why.is_some(), session.cluster_state().set_stale(kind, why));
    if touched.is_empty() {
        return;
    }
    if is_lost {
        tracing::warn!(cluster = session.name(), kind = kind.1, "rows of a kind are stale: it cannot be followed");
    } else {
        tracing::info!(cluster = session.name(), kind = kind.1, "a kind is followed again");
    }
    observe(session, touched, false);
}

fn observe(session: &Session, touched: Vec<PlacementId>, asks_for_work: bool) {
    let now = Timestamp::now();
    for id in touched {
        let mut cluster_state = session.cluster_state();
        let observed = cluster_state.observe(id, now);
        let app = cluster_state.entries.get(&id).map(|entry| entry.row.app);
        let over = observed.as_ref().is_some_and(|change| change.now.state.is_over());
        // Sent while `cluster_state` is locked, as in `Session::record`.
        if let (Some(change), Some(app)) = (observed, app) {
            session.send(app, &change.before, change.now);
        }
        drop(cluster_state);
        if asks_for_work {
            session.queue().push(id);
        }
        if over {
            // Rows that are deleted after this one have waited for it.
            session.push_siblings(id);
        }
    }
}

/// Names the fields that Meridian owned after the last apply and no longer owns.
fn lost(cluster_state: &ClusterState, live: &ObservedObject, object: &Value) -> Vec<String> {
    let entry = cluster_state.placement_of(&live.key).and_then(|id| cluster_state.entries.get(&id));
    let Some(applied) = entry.and_then(|entry| entry.applied_fields.as_ref()) else { return Vec::new() };
    domain::render::lost_fields(applied, domain::render::our_fields(object))
}

impl StreamState {
    /// Updates the state of a stream for an event.
    fn take(&mut self, event: &WatchEvent) {
        match event {
            WatchEvent::Reset => self.list_begins(),
            WatchEvent::Synced { .. } => self.list_ends(),
            WatchEvent::Opened | WatchEvent::Upsert(_) | WatchEvent::Delete(_) | WatchEvent::Bookmark { .. } => {
                self.is_heard();
            }
            WatchEvent::Down(error) => self.fails(reason(error)),
        }
    }
}

/// Maximum length of a reason, which is stored in the status of many rows.
const REASON_MAX: usize = 300;

/// Describes why a watch failed. The text is constant while the cause is, as every change is written.
fn reason(error: &MemberError) -> String {
    match error {
        MemberError::TimedOut { .. } => "no answer in time".to_owned(),
        MemberError::BreakerOpen { .. } => "its last calls failed".to_owned(),
        error => error.to_string().chars().take(REASON_MAX).collect(),
    }
}
