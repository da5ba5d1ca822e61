//! The watches of a session, what they count, and how well each is followed.

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

use crate::board::{Board, GroupKind, ObjectId, object_id};
use crate::capacity::Census;
use crate::contact::Contact;
use crate::followed::{Followed, Following};
use crate::live::{Live, without_template};
use crate::session::Session;

/// What a watch is of.
#[derive(Debug)]
pub(crate) enum Source {
    Objects(ApiKind),
    Nodes,
    Pods,
}

/// The watches of a session and what they count.
pub(crate) struct Watched {
    streams: SelectAll<futures::stream::BoxStream<'static, (Arc<Source>, WatchEvent)>>,
    kinds: BTreeMap<GroupKind, Following>,
    nodes: Following,
    pods: Following,
    listed: HashMap<GroupKind, HashSet<ObjectId>>,
    /// Kinds of the rows and capabilities of the member that the watches were begun by last.
    covered: Option<(u64, Arc<Contact>)>,
    lacks_kinds: bool,
    pub(crate) census: Census,
}

impl Watched {
    pub(crate) fn new(session: &Session) -> Self {
        let mut streams = SelectAll::new();
        let nodes = ApiKind::cluster_scoped("", "v1", "Node", "nodes");
        let pods = ApiKind::namespaced("", "v1", "Pod", "pods");
        // Pods that hold something of a node: most of what happens to a pod happens before and after.
        let bound = Selection::fields("spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed");
        for (kind, source, selected) in [(nodes, Source::Nodes, Selection::default()), (pods, Source::Pods, bound)] {
            let source = Arc::new(source);
            let stream = session.member().watch(&kind, &selected);
            streams.push(stream.map(move |event| (Arc::clone(&source), event)).boxed());
        }
        Self {
            streams,
            kinds: BTreeMap::new(),
            nodes: Following::begun(),
            pods: Following::begun(),
            listed: HashMap::new(),
            covered: None,
            lacks_kinds: false,
            census: Census::default(),
        }
    }

    /// Begins to watch kinds that rows are of and that are not watched yet. Does nothing while neither the kinds of the rows
    /// nor the capabilities of the member changed.
    pub(crate) fn cover(&mut self, session: &Session) {
        let contact = session.contact();
        let wanted = {
            let board = session.board();
            let epoch = board.kinds_epoch();
            if self.covered.as_ref().is_some_and(|(known, met)| *known == epoch && Arc::ptr_eq(met, &contact)) {
                return;
            }
            self.covered = Some((epoch, Arc::clone(&contact)));
            board.kinds().clone()
        };
        let watchable = contact.watchable(&wanted);
        self.lacks_kinds = watchable.len() < wanted.len();
        for kind in watchable {
            let group_kind = (kind.group.clone(), kind.kind.clone());
            if self.kinds.contains_key(&group_kind) {
                continue;
            }
            self.kinds.insert(group_kind, Following::begun());
            let source = Arc::new(Source::Objects(kind.clone()));
            let ours = Selection::labels(format!("{}=true", labels::MANAGED));
            let stream = session.member().watch(&kind, &ours);
            self.streams.push(stream.map(move |event| (Arc::clone(&source), event)).boxed());
        }
    }

    /// Rows are of kinds that the member does not serve or does not let us deliver.
    pub(crate) fn lacks_kinds(&self) -> bool {
        self.lacks_kinds
    }

    /// The next thing seen.
    pub(crate) async fn next(&mut self) -> Option<(Arc<Source>, WatchEvent)> {
        self.streams.next().await
    }

    /// Nobody listened for so long: that is not the silence of a watch.
    pub(crate) fn exclude_from_silence(&mut self, duration: Duration) {
        for following in self.kinds.values_mut().chain([&mut self.nodes, &mut self.pods]) {
            following.exclude_from_silence(duration);
        }
    }

    /// Marks the rows of kinds that cannot be followed for `silence`, and returns how the member is followed.
    pub(crate) fn judge(&mut self, session: &Session, silence: Duration) -> Followed {
        let now = Instant::now();
        let with_rows: HashSet<GroupKind> = session.board().row_kinds();
        for (kind, following) in &self.kinds {
            let why = following.lost_for(now, silence).map(|why| format!("{} cannot be followed there: {why}", kind.1));
            mark(session, kind, why);
        }
        let essential = [("nodes", &self.nodes), ("pods", &self.pods)];
        let delivered = self.kinds.iter().filter(|(kind, _)| with_rows.contains(*kind));
        Followed::of(now, silence, essential, delivered.map(|(kind, following)| (kind.1.as_str(), following)))
    }

    /// Takes what was seen into account. Returns whether a list was completed by it.
    pub(crate) fn take(&mut self, session: &Session, source: &Source, event: WatchEvent) -> bool {
        let is_synced = matches!(event, WatchEvent::Synced { .. });
        let following = match source {
            Source::Objects(kind) => self.kinds.get_mut(&(kind.group.clone(), kind.kind.clone())),
            Source::Nodes => Some(&mut self.nodes),
            Source::Pods => Some(&mut self.pods),
        };
        if let Some(following) = following {
            following.take(&event);
        }
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
                WatchEvent::Opened | WatchEvent::Bookmark { .. } | WatchEvent::Down(_) => {}
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
                WatchEvent::Opened | WatchEvent::Bookmark { .. } | WatchEvent::Down(_) => {}
            },
        }
        is_synced
    }

    fn object(&mut self, session: &Session, kind: &ApiKind, event: WatchEvent) {
        let group_kind = (kind.group.clone(), kind.kind.clone());
        if self.kinds.get(&group_kind).is_some_and(Following::is_followed) {
            mark(session, &group_kind, None);
        }
        let mut asks_for_work = true;
        let touched: Vec<PlacementId> = match event {
            WatchEvent::Reset => {
                self.listed.insert(group_kind.clone(), HashSet::new());
                session.board().reset(&group_kind);
                return;
            }
            WatchEvent::Upsert(bytes) => {
                let Ok(object) = without_template(&bytes) else { return };
                let Some(mut live) = Live::read(&kind.api_version(), &kind.kind, &object) else { return };
                if let Some(listed) = self.listed.get_mut(&group_kind) {
                    listed.insert(object_id(&live.key));
                }
                let mut board = session.board();
                live.lost = lost(&board, &live, &object);
                // Most changes are counts in its status, which call for no write.
                asks_for_work = board.live(&live.key).is_none_or(|known| !known.is_told_alike(&live));
                board.upsert(live).into_iter().collect()
            }
            WatchEvent::Delete(gone) => session.board().delete(&gone.key, &gone.uid).into_iter().collect(),
            WatchEvent::Synced { .. } => {
                let named = self.listed.remove(&group_kind).unwrap_or_default();
                let touched = session.board().sync(&group_kind, &named);
                // Everything that waited for the list.
                session.queue().extend(touched.iter().copied());
                touched
            }
            WatchEvent::Opened | WatchEvent::Bookmark { .. } | WatchEvent::Down(_) => return,
        };
        observe(session, touched, asks_for_work);
    }
}

/// Marks the rows of a kind as stale, or as followed again; sends what changed by it.
fn mark(session: &Session, kind: &GroupKind, why: Option<String>) {
    let (is_lost, touched) = (why.is_some(), session.board().set_stale(kind, why));
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
        let mut board = session.board();
        let observed = board.observe(id, now);
        let app = board.entries.get(&id).map(|entry| entry.row.app);
        let over = observed.as_ref().is_some_and(|change| change.now.state.is_over());
        // Under the board's lock: see `record`.
        if let (Some(change), Some(app)) = (observed, app) {
            session.send(app, &change.before, change.now);
        }
        drop(board);
        if asks_for_work {
            session.queue().push(id);
        }
        if over {
            // What leaves after it has waited for this.
            session.push_siblings(id);
        }
    }
}

/// Names the fields that were ours after the last apply and are not in the object as it is now.
fn lost(board: &Board, live: &Live, object: &Value) -> Vec<String> {
    let entry = board.placement_of(&live.key).and_then(|id| board.entries.get(&id));
    let Some(applied) = entry.and_then(|entry| entry.applied_fields.as_ref()) else { return Vec::new() };
    domain::render::lost_fields(applied, domain::render::our_fields(object))
}

impl Following {
    /// What an event says of how well a stream is followed.
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

/// Maximum length of a reason: it stands in the status of many rows.
const REASON_MAX: usize = 300;

/// Why a watch failed, in words that stay the same while the cause does: each change is written.
fn reason(error: &MemberError) -> String {
    match error {
        MemberError::TimedOut { .. } => "no answer in time".to_owned(),
        MemberError::BreakerOpen { .. } => "its last calls failed".to_owned(),
        error => error.to_string().chars().take(REASON_MAX).collect(),
    }
}
