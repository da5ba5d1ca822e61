//! In-memory state of delivery to one cluster: its rows, their status and the live objects.

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

/// One placement with its status.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) row: PlacementRow,
    pub(crate) status: StatusRow,
    /// Fields Meridian owned after the last apply in this process. Names the fields that drifted.
    pub(crate) applied_fields: Option<Arc<Value>>,
    /// Revision and the requests of one pod in that revision.
    pub(crate) pod: Option<(Vec<u8>, Amounts)>,
    /// Name of the application; `None` before it was read.
    pub(crate) app_name: Option<String>,
}

impl Entry {
    /// Whether the member accepted an apply at least once since the row was created.
    pub(crate) fn was_applied(&self) -> bool {
        self.status.applied_revision.is_some()
    }

    /// Whether the object was applied as the row requires and has not drifted since.
    pub(crate) fn rests(&self) -> bool {
        let status = &self.status;
        status.state == ObjectState::Applied && status.applied_epoch == self.row.plan_epoch && status.drift.is_empty()
    }
}

/// Status of a placement before and after an observation.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) before: StatusRow,
    pub(crate) now: StatusRow,
}

/// Group and kind of an API object. All versions of a kind hold the same objects.
pub(crate) type GroupKind = (String, String);

/// Identity of an object, independent of the API version it is read in.
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
    /// Time since when each orphan has belonged to no row.
    orphaned: HashMap<ObjectId, Instant>,
    /// Kinds that cannot be followed, with the reason. Their rows are stale.
    stale: HashMap<GroupKind, String>,
    /// Increases when the kinds of the rows change.
    kinds_epoch: u64,
    /// Kinds of all rows seen so far, each in the version of the latest row.
    kinds: HashMap<GroupKind, String>,
}

impl ClusterState {
    /// Removes all rows that are not among `rows`.
    pub(crate) fn keep_only(&mut self, rows: &[PlacementRow]) {
        let present: HashSet<PlacementId> = rows.iter().map(|row| row.id).collect();
        let gone: Vec<PlacementId> = self.entries.keys().filter(|id| !present.contains(id)).copied().collect();
        for id in gone {
            self.forget(id);
        }
    }

    /// Stores rows read from the database, except those older than the stored ones.
    ///
    /// Returns each row with whether it needs work: it is new, it changed or it is not settled.
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

    /// Stores status read from the database. Called once, before any observation.
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

    /// Stores a live object. Returns the placement that it belongs to.
    pub(crate) fn upsert(&mut self, live: ObservedObject) -> Option<PlacementId> {
        let id = object_id(&live.key);
        // The response to our own write may be newer than an event that arrives after it.
        if self.live.get(&id).is_some_and(|known| known.uid == live.uid && newer(known, &live)) {
            return None;
        }
        let placement = self.by_object.get(&id).copied();
        // An object that is not kept is treated like any foreign object when a row needs its name.
        let crowded = self.live.len() >= self.entries.len() + FOREIGN_OBJECTS_MAX;
        if placement.is_none() && crowded && !self.live.contains_key(&id) {
            return None;
        }
        self.live.insert(id, live);
        placement
    }

    /// Removes an object that is gone. Returns the placement that it belonged to.
    pub(crate) fn delete(&mut self, key: &ObjectKey, uid: &str) -> Option<PlacementId> {
        let id = object_id(key);
        if self.live.get(&id).is_some_and(|live| live.uid == uid) {
            self.live.remove(&id);
        }
        self.by_object.get(&id).copied()
    }

    /// Marks the start of a full list.
    pub(crate) fn reset(&mut self, kind: &GroupKind) {
        self.synced.remove(kind);
        // The list wins even over newer versions: the member may have been restored from a backup.
        for (_, live) in self.live.iter_mut().filter(|(id, _)| id.0 == *kind) {
            live.resource_version.clear();
        }
    }

    /// Marks the end of a full list and removes objects that it did not name.
    ///
    /// Returns the placements of the kind.
    pub(crate) fn sync(&mut self, kind: &GroupKind, named: &HashSet<ObjectId>) -> Vec<PlacementId> {
        self.live.retain(|id, _| id.0 != *kind || named.contains(id));
        self.synced.insert(kind.clone());
        self.by_object.iter().filter(|(id, _)| id.0 == *kind).map(|(_, placement)| *placement).collect()
    }

    pub(crate) fn is_synced(&self, kind: &GroupKind) -> bool {
        self.synced.contains(kind)
    }

    /// Applications whose name was not read yet.
    pub(crate) fn unnamed_apps(&self) -> BTreeSet<AppId> {
        self.entries.values().filter(|entry| entry.app_name.is_none()).map(|entry| entry.row.app).collect()
    }

    /// Stores the name of an application. The name never changes.
    pub(crate) fn name_app(&mut self, app: AppId, name: &str) {
        for id in self.by_app.get(&app).into_iter().flatten() {
            if let Some(entry) = self.entries.get_mut(id) {
                entry.app_name.get_or_insert_with(|| name.to_owned());
            }
        }
    }

    /// Marks a kind as stale with the reason, or as followed again.
    ///
    /// Returns the placements of the kind when this changed.
    pub(crate) fn set_stale(&mut self, kind: &GroupKind, why: Option<String>) -> Vec<PlacementId> {
        let is_new = self.stale.contains_key(kind) != why.is_some();
        match why {
            Some(why) => self.stale.insert(kind.clone(), why),
            None => self.stale.remove(kind),
        };
        let of_kind = |(id, placement): (&ObjectId, &PlacementId)| (id.0 == *kind).then_some(*placement);
        if is_new { self.by_object.iter().filter_map(of_kind).collect() } else { Vec::new() }
    }

    /// Kinds of the current rows.
    pub(crate) fn row_kinds(&self) -> HashSet<GroupKind> {
        let mut kinds = HashSet::new();
        for (kind, ..) in self.by_object.keys() {
            if !kinds.contains(kind) {
                kinds.insert(kind.clone());
            }
        }
        kinds
    }

    /// Increases when the kinds of the rows change.
    pub(crate) fn kinds_epoch(&self) -> u64 {
        self.kinds_epoch
    }

    /// Clears the UID of an object that the member no longer has.
    pub(crate) fn vanished(&mut self, id: PlacementId) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.status.object_uid = None;
        }
    }

    /// Objects with our label that belong to no row, each with the time since when that is so.
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

    /// Kinds of all rows seen so far, with their versions.
    pub(crate) fn kinds(&self) -> &HashMap<GroupKind, String> {
        &self.kinds
    }

    /// Returns a row of the same application that must be handled before this one.
    ///
    /// Lower ranks are applied first, higher ranks are deleted first.
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

    /// Returns other rows of the same application that are not done and may have waited for this one.
    pub(crate) fn siblings(&self, id: PlacementId) -> Vec<PlacementId> {
        let Some(entry) = self.entries.get(&id) else { return Vec::new() };
        let is_done = |other: &Entry| other.row.desired_state == DesiredState::Present && other.rests();
        self.of_app(entry.row.app)
            .filter(|other| other.row.id != id && other.row.rank != entry.row.rank && !is_done(other))
            .map(|other| other.row.id)
            .collect()
    }

    /// All placements of an application in this cluster.
    pub(crate) fn of_app(&self, app: AppId) -> impl Iterator<Item = &Entry> {
        self.by_app.get(&app).into_iter().flatten().filter_map(|id| self.entries.get(id))
    }

    /// Updates the status of a placement from the live object. Returns the change, if there is one.
    ///
    /// New numbers replace the old ones only when the kind is completely listed. A kind that is still being listed
    /// changes nothing; a kind that cannot be followed makes its rows stale.
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

/// Whether a live object is the one delivered for the entry.
///
/// The UID decides. Where it is unknown or differs, the labels that name the application and component decide.
pub(crate) fn belongs(entry: &Entry, live: &ObservedObject) -> bool {
    let is_known = entry.status.object_uid.as_ref() == Some(&live.uid);
    let names_owner = live.managed
        && entry.app_name.is_some()
        && live.app == entry.app_name
        && live.component.as_ref() == Some(&entry.row.component);
    is_known || names_owner
}

/// Whether an applied object is missing from its watch.
///
/// The object may be deleted or may only have lost its label; the next attempt looks it up.
pub(crate) fn is_missing(entry: &Entry, live: Option<&ObservedObject>) -> bool {
    live.is_none() && entry.status.object_uid.is_some() && !entry.status.state.is_over()
}

/// Compares by `resourceVersion` where both are numbers, as they are in every API server to date.
fn newer(known: &ObservedObject, other: &ObservedObject) -> bool {
    match (known.resource_version.parse::<u64>(), other.resource_version.parse::<u64>()) {
        (Ok(known), Ok(other)) => known > other,
        _ => false,
    }
}

/// Status of an entry whose object cannot be observed: its numbers stay and do not affect scheduling.
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
    // The numbers belong to a plan only after the member's own controllers have processed it.
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

/// Describes drifted fields and the remedy.
///
/// If another manager scales the object, the message does not advise `Enforce`. An autoscaler would set the number
/// again, and each new revision would revert it.
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
    // Only fields written by the current plan can have drifted.
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
    fn only_changed_or_unsettled_rows_need_work() {
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
