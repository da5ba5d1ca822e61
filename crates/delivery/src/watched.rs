//! The watches of a session, and what they count.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::SelectAll;
use jiff::Timestamp;
use members::{ApiKind, Selection, WatchEvent};
use serde_json::Value;
use store::PlacementId;
use vocabulary::labels;

use crate::board::{Board, GroupKind, ObjectId, object_id};
use crate::capacity::Census;
use crate::live::{Live, without_template};
use crate::session::Session;

/// What a watch is of.
pub(crate) enum Source {
    Objects(ApiKind),
    Nodes,
    Pods,
}

/// The watches of a session and what they count.
pub(crate) struct Watched {
    streams: SelectAll<futures::stream::BoxStream<'static, (Arc<Source>, WatchEvent)>>,
    kinds: HashSet<GroupKind>,
    listed: HashMap<GroupKind, HashSet<ObjectId>>,
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
        Self { streams, kinds: HashSet::new(), listed: HashMap::new(), census: Census::default() }
    }

    /// Begins to watch kinds that rows are of and that are not watched yet.
    pub(crate) fn cover(&mut self, session: &Session) {
        let wanted = {
            let board = session.board();
            if board.kinds().keys().all(|kind| self.kinds.contains(kind)) {
                return;
            }
            board.kinds().clone()
        };
        for kind in session.contact().watchable(&wanted) {
            if self.kinds.insert((kind.group.clone(), kind.kind.clone())) {
                let source = Arc::new(Source::Objects(kind.clone()));
                let ours = Selection::labels(format!("{}=true", labels::MANAGED));
                let stream = session.member().watch(&kind, &ours);
                self.streams.push(stream.map(move |event| (Arc::clone(&source), event)).boxed());
            }
        }
    }

    /// The next thing seen.
    pub(crate) async fn next(&mut self) -> Option<(Arc<Source>, WatchEvent)> {
        self.streams.next().await
    }

    /// Everything watched was listed once.
    pub(crate) fn complete(&self, session: &Session) -> bool {
        let board = session.board();
        self.kinds.iter().all(|kind| board.is_synced(kind))
            && self.census.capacity(&[], crds::cluster::v1alpha1::Amounts::default()).is_some()
    }

    pub(crate) fn take(&mut self, session: &Session, source: &Source, event: WatchEvent) {
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
            WatchEvent::Bookmark { .. } | WatchEvent::Down(_) => return,
        };
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
}

/// Names the fields that were ours after the last apply and are not in the object as it is now.
fn lost(board: &Board, live: &Live, object: &Value) -> Vec<String> {
    let entry = board.placement_of(&live.key).and_then(|id| board.entries.get(&id));
    let Some(applied) = entry.and_then(|entry| entry.applied_fields.as_ref()) else { return Vec::new() };
    domain::render::lost_fields(applied, domain::render::our_fields(object))
}
