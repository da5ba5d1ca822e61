//! In-memory state of delivery to one cluster: its rows, their status and the live objects.

use std::collections::{BTreeSet, HashMap, HashSet};

use jiff::Timestamp;
use store::{AppId, DesiredState, PlacementId, PlacementRow, StatusRow};
use tokio::time::Instant;
use vocabulary::ObjectKey;

use crate::observe::entry::{Entry, GroupKind, ObjectId, belongs, object_id};
use crate::observe::observed_object::ObservedObject;
use crate::observe::row_status::{observed, unobserved};
use crate::status::bounded::FOREIGN_OBJECTS_MAX;

/// Status of a placement before and after an observation.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) before: StatusRow,
    pub(crate) now: StatusRow,
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
                    && (other.status.applied_epoch == 0 || other.status.applied_revision != Some(other.row.revision))
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

/// Compares by `resourceVersion` where both are numbers, as they are in every API server to date.
fn newer(known: &ObservedObject, other: &ObservedObject) -> bool {
    match (known.resource_version.parse::<u64>(), other.resource_version.parse::<u64>()) {
        (Ok(known), Ok(other)) => known > other,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
