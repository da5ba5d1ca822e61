//! Model of the database: the writes that `store` makes in SQL, on maps.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::stored_revision::StoredRevision;
use jiff::Timestamp;
use schedule::{AppRows, Decisions, FleetRows};
use store::{
    AppId, ApplicationRow, ApplicationTaken, Bookings, CellDecisionRow, CellRow, ClusterRow, DecisionBase, DecisionRow,
    DeleteWindow, DesiredState, DirectiveRow, FailoverBreakerRow, NewDirective, OwnerRow, PlacementId, PlacementRow,
    Removal, ReservationRow, StatusRow,
};
use vocabulary::{AppKey, ContentHash, ObjectKey};

/// Rows of all tables that decisions and delivery use.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) apps: BTreeMap<AppId, ApplicationRow>,
    pub(super) revisions: BTreeMap<(AppId, ContentHash), Arc<StoredRevision>>,
    pub(super) cell_decisions: BTreeMap<AppId, Vec<CellDecisionRow>>,
    pub(super) placements: BTreeMap<PlacementId, PlacementRow>,
    pub(super) status: BTreeMap<PlacementId, StatusRow>,
    pub(super) reservations: BTreeMap<AppId, Vec<ReservationRow>>,
    pub(super) booking_versions: BTreeMap<String, i64>,
    pub(super) clusters: BTreeMap<String, ClusterRow>,
    pub(super) cells: BTreeMap<String, CellRow>,
    pub(super) breaker: Option<FailoverBreakerRow>,
    /// Directives by key. All have the same owner.
    pub(super) directives: BTreeMap<String, DirectiveRow>,
    pub(super) next_directive: i64,
    next_app: i64,
    next_placement: i64,
    /// Writes that the mirror must repeat; `None` without a mirror.
    pub(super) journal: Option<Vec<Wrote>>,
}

/// A write as requested from the database.
#[derive(Debug)]
pub(super) enum Wrote {
    /// `application_take`.
    Taken(Box<ApplicationTaken>),
    /// `application_remove`.
    Removed(AppKey, Removal, Option<ContentHash>),
    /// `decision_commit` with the number of decisions written, or `None` for a stale batch.
    Decided { rows: Vec<DecisionRow>, bookings: BTreeMap<String, i64>, written: Option<usize> },
    /// `failover_breaker_set`.
    Breaker(FailoverBreakerRow),
    /// `application_forget`, and whether the application was deleted.
    Forgot(AppKey, bool),
    /// `directive_put`.
    DirectivePut(NewDirective),
    /// `directive_end` of a key, and the number of deleted rows.
    DirectiveEnded(String, u64),
}

impl Tables {
    /// `application_take`.
    pub(super) fn take_application(&mut self, taken: &ApplicationTaken, revision: Arc<StoredRevision>) {
        self.note(|| Wrote::Taken(Box::new(taken.clone())));
        let known = self.apps.values().find(|row| row.key == taken.key).map(|row| row.id);
        let id = known.unwrap_or_else(|| {
            self.next_app += 1;
            self.next_app.into()
        });
        self.revisions.insert((id, taken.revision), revision);
        let before = self.apps.get(&id);
        let continues = before.is_some_and(|row| {
            row.object_uid == taken.object_uid
                && (row.generation < taken.generation || row.spec_hash == taken.spec_hash)
        });
        let row = ApplicationRow {
            id,
            key: taken.key.clone(),
            hub_uid: taken.hub_uid.clone(),
            object_uid: taken.object_uid.clone(),
            generation: taken.generation,
            spec_hash: taken.spec_hash,
            intent: taken.intent.clone(),
            revision: taken.revision,
            removal: None,
            removal_since: None,
            delete_confirmed: taken.delete_confirmed,
            rebalance_asked: taken.rebalance_asked,
            rebalance_done: before.and_then(|row| row.rebalance_done),
            input_hash: before.and_then(|row| row.input_hash),
            decision: before.and_then(|row| row.decision.clone()),
            decided_at: before.and_then(|row| row.decided_at),
            decided_generation: before.filter(|_| continues).map_or(0, |row| row.decided_generation),
            decision_version: before.map_or(0, |row| row.decision_version),
            acceptances: before.map_or(0, |row| row.acceptances) + i64::from(taken.accepted),
        };
        self.apps.insert(id, row);
    }

    /// `application_remove`.
    pub(super) fn remove_application(&mut self, id: AppId, removal: Removal, confirmed: Option<ContentHash>) {
        let Some(row) = self.apps.get_mut(&id) else { return };
        row.removal = Some(removal);
        row.removal_since = row.removal_since.or(Some(Timestamp::UNIX_EPOCH));
        row.delete_confirmed = confirmed;
        let key = row.key.clone();
        self.note(|| Wrote::Removed(key, removal, confirmed));
    }

    pub(super) fn note(&mut self, wrote: impl FnOnce() -> Wrote) {
        if let Some(journal) = &mut self.journal {
            journal.push(wrote());
        }
    }

    fn note_decided(&mut self, decisions: &Decisions, written: Option<usize>) {
        let (rows, bookings) = (&decisions.rows, &decisions.bookings);
        self.note(|| Wrote::Decided { rows: rows.clone(), bookings: bookings.clone(), written });
    }

    pub(super) fn placements_of(&self, app: AppId) -> impl Iterator<Item = &PlacementRow> {
        self.placements.values().filter(move |row| row.app == app)
    }

    pub(super) fn placements_in(&self, cluster: &str) -> Vec<PlacementRow> {
        let mut rows: Vec<PlacementRow> =
            self.placements.values().filter(|row| row.cluster == cluster).cloned().collect();
        rows.sort_by_key(|row| (row.rank, row.id));
        rows
    }

    pub(super) fn fleet_rows(&self) -> FleetRows {
        let mut sums: BTreeMap<(String, String), ReservationRow> = BTreeMap::new();
        for row in self.reservations.values().flatten() {
            let sum = sums.entry((row.cluster.clone(), row.zone.clone())).or_insert_with(|| ReservationRow {
                cpu_milli: 0,
                memory_mi: 0,
                pods: 0,
                ..row.clone()
            });
            sum.cpu_milli += row.cpu_milli;
            sum.memory_mi += row.memory_mi;
            sum.pods += row.pods;
        }
        let versions = self
            .clusters
            .keys()
            .map(|name| (name.clone(), self.booking_versions.get(name).copied().unwrap_or(0)))
            .collect();
        FleetRows {
            clusters: self.clusters.values().cloned().collect(),
            cells: self.cells.values().cloned().collect(),
            directives: self.directives.values().cloned().collect(),
            bookings: Bookings { sums: sums.into_values().collect(), versions },
            breaker: self.breaker,
        }
    }

    pub(super) fn app_rows(&self, id: AppId) -> AppRows {
        let placements: Vec<PlacementRow> = self.placements_of(id).cloned().collect();
        let cells = self.cell_decisions.get(&id).cloned().unwrap_or_default();
        let application = self.apps[&id].clone();
        let used = placements.iter().map(|row| row.revision).chain(cells.iter().map(|row| row.revision));
        let hashes = used.chain([application.revision]).chain(self.released(id));
        let revisions = hashes.filter_map(|hash| Some((hash, Arc::clone(self.revisions.get(&(id, hash))?)))).collect();
        AppRows {
            status: placements.iter().filter_map(|row| self.status.get(&row.id).cloned()).collect(),
            reservations: self.reservations.get(&id).cloned().unwrap_or_default(),
            application,
            cells,
            placements,
            revisions,
        }
    }

    /// `placement_owners`.
    pub(super) fn owners(&self, objects: &[(String, ObjectKey)]) -> Vec<OwnerRow> {
        let is = |row: &PlacementRow, (cluster, object): &(String, ObjectKey)| {
            row.cluster == *cluster && same_object(&row.object, object)
        };
        self.placements
            .values()
            .filter(|row| objects.iter().any(|object| is(row, object)))
            .map(|row| OwnerRow {
                placement: row.id,
                cluster: row.cluster.clone(),
                object: row.object.clone(),
                app: row.app,
                app_name: self.apps[&row.app].key.name.clone(),
            })
            .collect()
    }

    /// `delete_window` without recent deletes, because a person confirms the guard's requests at once.
    pub(super) fn delete_window(&self) -> DeleteWindow {
        let mut window = DeleteWindow::default();
        for row in self.placements.values().filter(|row| row.desired_state == DesiredState::Present) {
            *window.present.entry(row.cluster.clone()).or_default() += 1;
        }
        window
    }

    /// `decision_commit`. Returns whether any row was written.
    pub(super) fn commit(&mut self, decisions: &Decisions) -> Result<bool, String> {
        let base = |row: &ApplicationRow| DecisionBase {
            generation: row.generation,
            removal: row.removal,
            version: row.decision_version,
        };
        let valid: Vec<&DecisionRow> = decisions
            .rows
            .iter()
            .filter(|decision| self.apps.get(&decision.app).is_some_and(|row| base(row) == decision.base))
            .collect();
        let count = valid.len();
        if self.takes_owned_name(&valid) || !self.may_book(&valid, &decisions.bookings) {
            self.note_decided(decisions, None);
            return Ok(false);
        }
        self.note_decided(decisions, Some(count));
        for decision in &valid {
            for change in &decision.changes {
                if self.placements.get(&change.id).is_none_or(|row| row.plan_epoch != change.read_epoch) {
                    return Err(format!("placement {} changed although its application did not", change.id));
                }
            }
        }
        for id in valid.iter().flat_map(|decision| &decision.forget) {
            self.placements.remove(id);
            self.status.remove(id);
        }
        for decision in &valid {
            self.write(decision)?;
        }
        if let Some(breaker) = decisions.breaker {
            self.breaker = Some(breaker);
            self.note(|| Wrote::Breaker(breaker));
        }
        Ok(!valid.is_empty())
    }

    /// Whether an insert needs a name that a row has, as when the decision that frees the name is outdated. The database
    /// refuses the whole transaction, and the scheduler decides again in smaller batches.
    fn takes_owned_name(&self, valid: &[&DecisionRow]) -> bool {
        let is_forgotten = |row: &PlacementRow| valid.iter().any(|decision| decision.forget.contains(&row.id));
        let is_taken = |insert: &store::PlacementInsert| {
            let owns = |row: &PlacementRow| row.cluster == insert.cluster && same_object(&row.object, &insert.object);
            self.placements.values().any(|row| owns(row) && !is_forgotten(row))
        };
        valid.iter().flat_map(|decision| &decision.inserts).any(is_taken)
    }

    fn may_book(&mut self, valid: &[&DecisionRow], expected: &BTreeMap<String, i64>) -> bool {
        let booking: Vec<&&DecisionRow> = valid.iter().filter(|decision| decision.reservations.is_some()).collect();
        let before = booking.iter().filter_map(|decision| self.reservations.get(&decision.app)).flatten();
        let after = booking.iter().flat_map(|decision| decision.reservations.iter().flatten());
        let mut clusters: Vec<String> = before.chain(after).map(|row| row.cluster.clone()).collect();
        clusters.sort_unstable();
        clusters.dedup();
        let current = |name: &String| self.booking_versions.get(name).copied().unwrap_or(0);
        if clusters.iter().any(|name| expected.get(name) != Some(&current(name)) || !self.clusters.contains_key(name)) {
            return false;
        }
        for name in clusters {
            *self.booking_versions.entry(name).or_default() += 1;
        }
        true
    }

    fn write(&mut self, decision: &DecisionRow) -> Result<(), String> {
        for change in &decision.changes {
            let Some(row) = self.placements.get_mut(&change.id) else { continue };
            row.component.clone_from(&change.component);
            row.object.api_version.clone_from(&change.api_version);
            row.rank = change.rank;
            row.divided = change.divided;
            row.target = change.target;
            row.floor = change.floor;
            row.surge = change.surge;
            row.revision = change.revision;
            row.inputs.clone_from(&change.inputs);
            row.desired_state = change.desired_state;
            row.plan_epoch += 1;
        }
        for insert in &decision.inserts {
            let taken = |row: &PlacementRow| row.cluster == insert.cluster && same_object(&row.object, &insert.object);
            if self.placements.values().any(taken) {
                return Err(format!("{} in {} gets a second owner", insert.object, insert.cluster));
            }
            self.next_placement += 1;
            let row = PlacementRow {
                id: self.next_placement.into(),
                app: decision.app,
                component: insert.component.clone(),
                cell: insert.cell.clone(),
                slot: insert.slot,
                cluster: insert.cluster.clone(),
                object: insert.object.clone(),
                rank: insert.rank,
                divided: insert.divided,
                target: insert.target,
                floor: 0,
                surge: 0,
                plan_epoch: 1,
                revision: insert.revision,
                inputs: insert.inputs.clone(),
                desired_state: DesiredState::Present,
            };
            self.placements.insert(row.id, row);
        }
        if let Some(cells) = &decision.cells {
            self.cell_decisions.insert(decision.app, cells.clone());
        }
        if let Some(reservations) = &decision.reservations {
            self.reservations.insert(decision.app, reservations.clone());
        }
        let Some(app) = self.apps.get_mut(&decision.app) else { return Ok(()) };
        app.decision_version += 1;
        app.decided_generation = decision.generation.unwrap_or(app.decided_generation);
        app.rebalance_done = decision.rebalance_done.or(app.rebalance_done);
        if let Some(decided) = &decision.decided {
            app.input_hash = Some(decided.input_hash);
            app.decision = Some(decided.record.clone());
            app.decided_at = Some(Timestamp::UNIX_EPOCH);
        }
        Ok(())
    }

    /// `application_forget`.
    pub(super) fn forget_application(&mut self, id: AppId) {
        let Some(row) = self.apps.get(&id) else { return };
        let (key, gone) = (row.key.clone(), row.removal.is_some() && self.placements_of(id).next().is_none());
        self.note(|| Wrote::Forgot(key, gone));
        if gone {
            self.apps.remove(&id);
            self.cell_decisions.remove(&id);
            self.reservations.remove(&id);
            self.directives.retain(|_, row| row.app != Some(id));
            self.revisions.retain(|(app, _), _| *app != id);
        }
    }
}

/// Whether two keys name the same object. All versions of a kind hold the same objects.
pub(super) fn same_object(one: &ObjectKey, other: &ObjectKey) -> bool {
    one.group() == other.group() && one.kind == other.kind && one.namespace == other.namespace && one.name == other.name
}
