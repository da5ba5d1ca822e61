//! Everything one cluster's delivery knows: its rows, their status and the live objects.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crds::cluster::v1alpha1::Amounts;
use jiff::Timestamp;
use serde_json::Value;
use store::{AppId, DesiredState, ObjectState, PlacementId, PlacementRow, StatusRow};
use tokio::time::Instant;
use vocabulary::{ContentHash, ObjectKey};

use crate::observe::observed_object::ObservedObject;
use crate::status::bounded::FOREIGN_OBJECTS_MAX;

/// One placement with what is known of it.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) row: PlacementRow,
    pub(crate) status: StatusRow,
    /// Fields we owned after the last apply in this process; names what drifted.
    pub(crate) applied_fields: Option<Arc<Value>>,
    /// What one pod asks for, and the revision that says so.
    pub(crate) pod: Option<(Vec<u8>, Amounts)>,
    /// Name of the application; nothing before it was read.
    pub(crate) app_name: Option<String>,
}

impl Entry {
    /// The member took it at least once since the row was made.
    pub(crate) fn was_applied(&self) -> bool {
        self.status.applied_revision.is_some()
    }

    /// It was delivered as its row says, and nothing of it was changed since.
    pub(crate) fn rests(&self) -> bool {
        let status = &self.status;
        status.state == ObjectState::Applied && status.applied_epoch == self.row.plan_epoch && status.drift.is_empty()
    }
}

/// What was known of a placement, and what is known now.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) before: StatusRow,
    pub(crate) now: StatusRow,
}

/// Group and kind of an API object; versions of one kind are the same objects.
pub(crate) type GroupKind = (String, String);

/// Identity of an object whatever the version it is read in.
pub(crate) type ObjectId = (GroupKind, String, String);

pub(crate) fn object_id(key: &ObjectKey) -> ObjectId {
    ((key.group().to_owned(), key.kind.clone()), key.namespace.clone(), key.name.clone())
}

/// Rows, status and live objects of one cluster.
#[derive(Debug, Default)]
pub(crate) struct ClusterState {
    pub(crate) entries: HashMap<PlacementId, Entry>,
    by_object: HashMap<ObjectId, PlacementId>,
    by_app: HashMap<AppId, BTreeSet<PlacementId>>,
    live: HashMap<ObjectId, ObservedObject>,
    synced: HashSet<GroupKind>,
    /// Since when objects belong to no row.
    orphaned: HashMap<ObjectId, Instant>,
    /// Kinds that cannot be followed, with the reason: their rows are stale.
    stale: HashMap<GroupKind, String>,
    /// Rises when the kinds of the rows change.
    kinds_epoch: u64,
    /// Kinds rows are or were of, each in the version of the latest.
    kinds: HashMap<GroupKind, String>,
}

impl ClusterState {
    /// Forgets rows that are not among these.
    pub(crate) fn keep_only(&mut self, rows: &[PlacementRow]) {
        let present: HashSet<PlacementId> = rows.iter().map(|row| row.id).collect();
        let gone: Vec<PlacementId> = self.entries.keys().filter(|id| !present.contains(id)).copied().collect();
        for id in gone {
            self.forget(id);
        }
    }

    /// Takes rows as read from the database; one that is known from a later reading stays as it is. Returns each of them
    /// with whether it says something new or does not rest.
    pub(crate) fn take_rows(&mut self, rows: Vec<PlacementRow>, now: Timestamp) -> Vec<(PlacementId, bool)> {
        let mut taken = Vec::with_capacity(rows.len());
        for row in rows {
            let known = self.entries.get(&row.id);
            let older = |known: &Entry| row.plan_epoch < known.row.plan_epoch;
            let changed = known.is_none_or(|known| known.row != row && !older(known));
            taken.push((row.id, changed || known.is_some_and(|known| !known.rests())));
            if !changed {
                continue;
            }
            let id = object_id(&row.object);
            if self.kinds.get(&id.0) != Some(&row.object.api_version) {
                self.kinds.insert(id.0.clone(), row.object.api_version.clone());
                self.kinds_epoch += 1;
            }
            self.by_object.insert(id, row.id);
            self.by_app.entry(row.app).or_default().insert(row.id);
            if let Some(entry) = self.entries.get_mut(&row.id) {
                entry.row = row;
            } else {
                let status = StatusRow::unknown(row.id, now);
                self.entries.insert(row.id, Entry { row, status, applied_fields: None, pod: None, app_name: None });
            }
        }
        taken
    }

    /// Takes status as read from the database, once, before anything else.
    pub(crate) fn take_status(&mut self, rows: Vec<StatusRow>) {
        for row in rows {
            if let Some(entry) = self.entries.get_mut(&row.placement) {
                entry.status = row;
            }
        }
    }

    pub(crate) fn forget(&mut self, id: PlacementId) {
        if let Some(entry) = self.entries.remove(&id) {
            let object = object_id(&entry.row.object);
            if self.by_object.get(&object) == Some(&id) {
                self.by_object.remove(&object);
            }
            if let Some(ids) = self.by_app.get_mut(&entry.row.app) {
                ids.remove(&id);
                if ids.is_empty() {
                    self.by_app.remove(&entry.row.app);
                }
            }
        }
    }

    pub(crate) fn live(&self, key: &ObjectKey) -> Option<&ObservedObject> {
        self.live.get(&object_id(key))
    }

    pub(crate) fn placement_of(&self, key: &ObjectKey) -> Option<PlacementId> {
        self.by_object.get(&object_id(key)).copied()
    }

    /// Takes a live object; returns the placement it belongs to.
    pub(crate) fn upsert(&mut self, live: ObservedObject) -> Option<PlacementId> {
        let id = object_id(&live.key);
        // The answer to our own write may be newer than an event that was under way.
        if self.live.get(&id).is_some_and(|known| known.uid == live.uid && newer(known, &live)) {
            return None;
        }
        let placement = self.by_object.get(&id).copied();
        // What is not kept is met like any foreign object when a row wants its name.
        let crowded = self.live.len() >= self.entries.len() + FOREIGN_OBJECTS_MAX;
        if placement.is_none() && crowded && !self.live.contains_key(&id) {
            return None;
        }
        self.live.insert(id, live);
        placement
    }

    /// An object is gone; returns the placement it belonged to.
    pub(crate) fn delete(&mut self, key: &ObjectKey, uid: &str) -> Option<PlacementId> {
        let id = object_id(key);
        if self.live.get(&id).is_some_and(|live| live.uid == uid) {
            self.live.remove(&id);
        }
        self.by_object.get(&id).copied()
    }

    /// A full list begins.
    pub(crate) fn reset(&mut self, kind: &GroupKind) {
        self.synced.remove(kind);
        // What is listed now counts, also where it is older: the member may have been restored from a backup.
        for (_, live) in self.live.iter_mut().filter(|(id, _)| id.0 == *kind) {
            live.resource_version.clear();
        }
    }

    /// A full list ended: what it did not name is gone. Returns placements of the kind.
    pub(crate) fn sync(&mut self, kind: &GroupKind, named: &HashSet<ObjectId>) -> Vec<PlacementId> {
        self.live.retain(|id, _| id.0 != *kind || named.contains(id));
        self.synced.insert(kind.clone());
        self.by_object.iter().filter(|(id, _)| id.0 == *kind).map(|(_, placement)| *placement).collect()
    }

    pub(crate) fn is_synced(&self, kind: &GroupKind) -> bool {
        self.synced.contains(kind)
    }

    /// Applications of rows whose name is not known yet.
    pub(crate) fn unnamed_apps(&self) -> BTreeSet<AppId> {
        self.entries.values().filter(|entry| entry.app_name.is_none()).map(|entry| entry.row.app).collect()
    }

    /// Takes the name of an application, which never changes.
    pub(crate) fn name_app(&mut self, app: AppId, name: &str) {
        for id in self.by_app.get(&app).into_iter().flatten() {
            if let Some(entry) = self.entries.get_mut(id) {
                entry.app_name.get_or_insert_with(|| name.to_owned());
            }
        }
    }

    /// Says that a kind cannot be followed, and why, or that it is followed again. Returns its placements when that is new.
    pub(crate) fn set_stale(&mut self, kind: &GroupKind, why: Option<String>) -> Vec<PlacementId> {
        let is_new = self.stale.contains_key(kind) != why.is_some();
        match why {
            Some(why) => self.stale.insert(kind.clone(), why),
            None => self.stale.remove(kind),
        };
        let of_kind = |(id, placement): (&ObjectId, &PlacementId)| (id.0 == *kind).then_some(*placement);
        if is_new { self.by_object.iter().filter_map(of_kind).collect() } else { Vec::new() }
    }

    /// Kinds of the rows there are.
    pub(crate) fn row_kinds(&self) -> HashSet<GroupKind> {
        let mut kinds = HashSet::new();
        for (kind, ..) in self.by_object.keys() {
            if !kinds.contains(kind) {
                kinds.insert(kind.clone());
            }
        }
        kinds
    }

    /// Rises when the kinds of the rows change.
    pub(crate) fn kinds_epoch(&self) -> u64 {
        self.kinds_epoch
    }

    /// An object that was known by its UID is not there any more, as the member answered.
    pub(crate) fn vanished(&mut self, id: PlacementId) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.status.object_uid = None;
        }
    }

    /// ObservedObject objects with our label that belong to no row, each with the moment since when that is seen.
    pub(crate) fn orphans(&mut self, now: Instant) -> Vec<(ObservedObject, Instant)> {
        let Self { live, by_object, orphaned, .. } = self;
        orphaned.retain(|id, _| live.contains_key(id) && !by_object.contains_key(id));
        let alone = live.iter().filter(|(id, _)| !by_object.contains_key(*id));
        alone.map(|(id, live)| (live.clone(), *orphaned.entry(id.clone()).or_insert(now))).collect()
    }

    /// Number of rows.
    pub(crate) fn placed(&self) -> usize {
        self.by_object.len()
    }

    /// Kinds the rows are or were of, with their versions.
    pub(crate) fn kinds(&self) -> &HashMap<GroupKind, String> {
        &self.kinds
    }

    /// Rows of the same application that must be dealt with before this one: lower ranks first when things arrive,
    /// higher ranks first when they leave.
    pub(crate) fn waits_for(&self, id: PlacementId) -> Option<&Entry> {
        let entry = self.entries.get(&id)?;
        let leaving = entry.row.desired_state != DesiredState::Present;
        self.of_app(entry.row.app).filter(|other| other.row.id != id).find(|other| {
            let other_leaves = other.row.desired_state != DesiredState::Present;
            if leaving {
                other_leaves && other.row.rank > entry.row.rank && !other.status.state.is_over()
            } else {
                !other_leaves
                    && other.row.rank < entry.row.rank
                    && (other.status.applied_epoch == 0
                        || other.status.applied_revision.as_deref() != Some(other.row.revision.as_slice()))
            }
        })
    }

    /// Other rows of the same application that are not done: they may have waited.
    pub(crate) fn siblings(&self, id: PlacementId) -> Vec<PlacementId> {
        let Some(entry) = self.entries.get(&id) else { return Vec::new() };
        let is_done = |other: &Entry| other.row.desired_state == DesiredState::Present && other.rests();
        self.of_app(entry.row.app)
            .filter(|other| other.row.id != id && other.row.rank != entry.row.rank && !is_done(other))
            .map(|other| other.row.id)
            .collect()
    }

    /// All placements of an application here.
    pub(crate) fn of_app(&self, app: AppId) -> impl Iterator<Item = &Entry> {
        self.by_app.get(&app).into_iter().flatten().filter_map(|id| self.entries.get(id))
    }

    /// Status of a placement by what is known now. Facts about the live object replace the old ones only when the
    /// kind is synced: silence changes nothing, but that a kind cannot be followed makes its rows stale.
    pub(crate) fn observe(&mut self, id: PlacementId, now: Timestamp) -> Option<Change> {
        let entry = self.entries.get(&id)?;
        let kind = object_id(&entry.row.object).0;
        let status = if let Some(why) = self.stale.get(&kind) {
            unobserved(entry, Some(why), now)
        } else if self.synced.contains(&kind) {
            observed(entry, self.live(&entry.row.object).filter(|live| belongs(entry, live)), now)
        } else {
            return None;
        };
        if status.same_facts(&entry.status) {
            return None;
        }
        let entry = self.entries.get_mut(&id)?;
        let before = std::mem::replace(&mut entry.status, status.clone());
        Some(Change { before, now: status })
    }
}

/// Whether a live object is the one we delivered for the entry: by its UID, or, where that is not known or another object was
/// put in its place, by what it says of its application and component.
pub(crate) fn belongs(entry: &Entry, live: &ObservedObject) -> bool {
    let is_known = entry.status.object_uid.as_ref() == Some(&live.uid);
    let names_owner = live.managed
        && entry.app_name.is_some()
        && live.app == entry.app_name
        && live.component.as_ref() == Some(&entry.row.component);
    is_known || names_owner
}

/// Whether an object that was there is missing from its watch, and nobody looked yet whether it is gone or only lost its label.
pub(crate) fn is_missing(entry: &Entry, live: Option<&ObservedObject>) -> bool {
    live.is_none() && entry.status.object_uid.is_some() && !entry.status.state.is_over()
}

/// Compares by resourceVersion where both are numbers, as they are in every API server to date.
fn newer(known: &ObservedObject, other: &ObservedObject) -> bool {
    match (known.resource_version.parse::<u64>(), other.resource_version.parse::<u64>()) {
        (Ok(known), Ok(other)) => known > other,
        _ => false,
    }
}

/// Status of an entry whose object cannot be seen: its numbers stay and decide nothing.
fn unobserved(entry: &Entry, why: Option<&String>, now: Timestamp) -> StatusRow {
    let mut status =
        StatusRow { changed_at: now, stale: true, observed_epoch: 0, settled: false, ..entry.status.clone() };
    if let Some(why) = why.filter(|_| status.state == ObjectState::Applied) {
        status.message = Some(format!("{why}; the numbers are those last seen"));
    }
    status
}

fn observed(entry: &Entry, live: Option<&ObservedObject>, now: Timestamp) -> StatusRow {
    let before = &entry.status;
    if is_missing(entry, live) {
        return unobserved(entry, None, now);
    }
    let mut status = StatusRow { changed_at: now, stale: false, ..before.clone() };
    let Some(live) = live else {
        status.observed_epoch = 0;
        status.replicas = 0;
        status.ready = 0;
        status.available = 0;
        status.updated = 0;
        status.settled = false;
        status.zones = None;
        status.drift = Vec::new();
        return status;
    };
    let observed = &live.observed;
    status.object_uid = Some(live.uid.clone());
    if live.fence.is_none_or(|fence| fence.plan < entry.row.plan_epoch) {
        status.found_epoch = 0;
    }
    // Numbers speak of a plan only once the member's own controllers have worked on it.
    if observed.observed_generation_current {
        status.observed_epoch = live.fence.map_or(0, |fence| fence.plan);
    }
    status.replicas = observed.replicas;
    status.ready = observed.ready;
    status.available = observed.available;
    status.updated = observed.updated;
    status.settled = observed.complete && observed.observed_generation_current && !live.deleting;
    if before.state == ObjectState::Applied {
        status.message.clone_from(&observed.message);
        status.drift = drift(entry, live);
        if let Some(message) = drift_message(&status.drift, entry.row.divided) {
            status.message = Some(message);
        }
    }
    let is_ours_to_tell = matches!(before.state, ObjectState::Applied | ObjectState::Deleting);
    if is_ours_to_tell && !live.held_by.is_empty() {
        status.message = Some(format!(
            "it is being deleted and held by finalizer {}; whoever set that must release it",
            live.held_by.join(", ")
        ));
    }
    status
}

/// What changed behind our back, and what to do about it. A number that somebody scales is not put back by advice: an
/// autoscaler would set it again, and each new revision would take it back again.
fn drift_message(drift: &[String], is_divided: bool) -> Option<String> {
    let [first, rest @ ..] = drift else { return None };
    if !is_divided && rest.is_empty() && first == ".spec.replicas" {
        return Some(
            ".spec.replicas is set by another manager now, and the next revision puts the template's number back; if it is an autoscaler's, remove spec.replicas from the template, and what runs keeps its number"
                .to_owned(),
        );
    }
    let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
    Some(format!("{first}{more} changed behind our back; set spec.drift: Enforce to put it back"))
}

fn drift(entry: &Entry, live: &ObservedObject) -> Vec<String> {
    let before: Option<ContentHash> = entry.status.fields_hash.as_deref().and_then(ContentHash::from_bytes);
    // Only what was written by the plan in force can have been changed behind our back.
    if before.is_none() || before == live.fields || entry.status.applied_epoch != entry.row.plan_epoch {
        return Vec::new();
    }
    if live.lost.is_empty() {
        vec!["fields that were ours belong to another manager now".to_owned()]
    } else {
        live.lost.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(plan_epoch: u32, target: i32) -> PlacementRow {
        PlacementRow {
            id: 7,
            app: 1,
            component: "web".to_owned(),
            cell: "east".to_owned(),
            slot: store::Slot::Main,
            cluster: "east".to_owned(),
            object: ObjectKey {
                api_version: "apps/v1".to_owned(),
                kind: "Deployment".to_owned(),
                namespace: "shop".to_owned(),
                name: "web".to_owned(),
            },
            rank: 0,
            divided: true,
            target,
            floor: 0,
            surge: 0,
            plan_epoch,
            revision: vec![1],
            inputs: None,
            desired_state: DesiredState::Present,
        }
    }

    fn status(state: ObjectState, applied_epoch: u32) -> StatusRow {
        StatusRow { state, applied_epoch, ..StatusRow::unknown(7, Timestamp::UNIX_EPOCH) }
    }

    #[test]
    fn only_rows_that_say_something_new_or_do_not_rest_call_for_a_look() {
        let mut cluster_state = ClusterState::default();
        let mut take = |row: PlacementRow, now: StatusRow| {
            let calls = cluster_state.take_rows(vec![row], Timestamp::UNIX_EPOCH)[0].1;
            cluster_state.take_status(vec![now]);
            calls
        };
        assert!(take(row(1, 3), status(ObjectState::Applied, 1)), "it is new");
        assert!(!take(row(1, 3), status(ObjectState::Applied, 1)), "it was delivered");
        assert!(take(row(2, 4), status(ObjectState::Applied, 1)), "it changed");
        assert!(take(row(2, 4), status(ObjectState::Failed, 2)), "this plan was not delivered");
        assert!(take(row(2, 4), status(ObjectState::Refused, 2)), "it failed");
        let drifted = StatusRow { drift: vec![".spec".to_owned()], ..status(ObjectState::Applied, 2) };
        assert!(take(row(2, 4), drifted), "it was refused");
        assert!(take(row(2, 4), status(ObjectState::Applied, 2)), "it drifted");
        assert!(!take(row(2, 4), status(ObjectState::Applied, 2)));
    }

    #[test]
    fn drift_of_a_scaled_number_does_not_advise_enforce() {
        let drift = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>();
        for (case, paths, divided, advice) in [
            ("scaled in a member", drift(&[".spec.replicas"]), false, "remove spec.replicas from the template"),
            ("scaled although it is divided", drift(&[".spec.replicas"]), true, "set spec.drift: Enforce"),
            ("more than scaled", drift(&[".spec.replicas", ".spec.x"]), false, "and 1 more changed"),
            ("another field", drift(&[".metadata.labels.a"]), false, "set spec.drift: Enforce"),
        ] {
            let message = drift_message(&paths, divided).unwrap();
            assert!(message.contains(advice), "{case}: {message}");
        }
        assert_eq!(drift_message(&[], false), None);
    }

    #[test]
    fn a_foreign_finalizer_is_named_while_its_object_is_deleted() {
        let object = |finalizers: serde_json::Value| {
            serde_json::json!({"metadata": {"name": "web", "namespace": "shop", "uid": "u", "finalizers": finalizers,
                "deletionTimestamp": "2026-11-02T03:04:05Z"}})
        };
        for (case, finalizers, expected) in [
            ("a foreign one", serde_json::json!(["example.org/hold"]), Some("held by finalizer example.org/hold")),
            ("the garbage collector's", serde_json::json!(["foregroundDeletion"]), None),
        ] {
            let live = ObservedObject::read("apps/v1", "Deployment", &object(finalizers)).unwrap();
            let row = PlacementRow { desired_state: DesiredState::Delete, ..row(2, 0) };
            let status = StatusRow { object_uid: Some("u".to_owned()), ..status(ObjectState::Deleting, 1) };
            let entry = Entry { row, status, applied_fields: None, pod: None, app_name: None };
            let message = observed(&entry, Some(&live), Timestamp::UNIX_EPOCH).message;
            assert_eq!(message.is_some(), expected.is_some(), "{case}: {message:?}");
            assert!(message.unwrap_or_default().contains(expected.unwrap_or_default()), "{case}");
        }
    }

    #[test]
    fn objects_that_belong_to_no_row_are_kept_up_to_a_limit() {
        let mut cluster_state = ClusterState::default();
        cluster_state.take_rows(vec![row(1, 1)], Timestamp::UNIX_EPOCH);
        let live = |name: String| {
            let object = serde_json::json!({"metadata": {"name": name, "namespace": "shop", "uid": name}});
            ObservedObject::read("apps/v1", "Deployment", &object).unwrap()
        };
        for number in 0..FOREIGN_OBJECTS_MAX + 50 {
            cluster_state.upsert(live(format!("foreign-{number}")));
        }
        assert_eq!(cluster_state.upsert(live("web".to_owned())), Some(7), "what belongs to a row is always kept");
        assert!(cluster_state.live.len() <= FOREIGN_OBJECTS_MAX + 2, "{}", cluster_state.live.len());
    }

    #[test]
    fn a_row_of_an_earlier_reading_changes_nothing() {
        let mut cluster_state = ClusterState::default();
        cluster_state.take_rows(vec![row(3, 5)], Timestamp::UNIX_EPOCH);
        cluster_state.take_rows(vec![row(2, 4)], Timestamp::UNIX_EPOCH);
        assert_eq!(cluster_state.entries[&7].row, row(3, 5));
        cluster_state.keep_only(&[]);
        assert!(cluster_state.entries.is_empty() && cluster_state.by_app.is_empty());
    }
}
