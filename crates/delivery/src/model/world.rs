//! Runs the hub, database, schedulers, deliverers and members of the model step by step.

mod delivering;

use std::cell::RefCell;
use std::collections::BTreeMap;

use domain::intent::Intent;
use domain::render;
use domain::stored_topology::{StoredCell, StoredCluster, topology_from_rows};
use domain::topology::Topology;
use jiff::{SignedDuration, Timestamp};
use schedule::{Decisions, decide};
use serde_json::{Value, json};
use store::{AppId, DesiredState, ObjectState, PlacementId, Removal, StatusRow};
use vocabulary::{ContentHash, Fence, labels};

use super::check::Promises;
use super::edits::{AppEdit, Edit, FleetEdit, MemberEdit, Step, What};
use super::fleet;
use super::hub::{Hub, Written};
use super::member::{ApplyRefused, Member, id, is_managed, text};
use super::mirror::Mirror;
use super::tables::Tables;
use crate::decide::action::next_action;
use crate::decide::render_row::{RowRender, cell_of, render_row};
use crate::observe::cluster_state::ClusterState;
use crate::observe::entry::{Entry, belongs, object_id};
use crate::observe::observed_object::ObservedObject;

/// Number of clusters in the model. The last one joins later.
const CLUSTERS: usize = 4;
/// Maximum number of rounds until an unedited fleet settles; after that it never will.
const ROUNDS: usize = 300;
const STALE_AFTER: SignedDuration = SignedDuration::from_hours(1_000_000);

/// State of the whole model.
pub(super) struct World<'m> {
    pub(super) hub: Hub,
    pub(super) tables: Tables,
    pub(super) members: BTreeMap<usize, Member>,
    cluster_states: BTreeMap<usize, ClusterState>,
    /// Decisions of a second scheduler that are not written yet.
    read: Option<Decisions>,
    pub(super) promises: Promises,
    /// Applications as written when the model last settled.
    rested: BTreeMap<usize, Written>,
    now: Timestamp,
    /// Database that repeats every write.
    mirror: Option<&'m RefCell<Mirror>>,
}

impl<'m> World<'m> {
    pub(super) fn new(mirror: Option<&'m RefCell<Mirror>>) -> Self {
        let mut world = Self {
            hub: Hub::default(),
            tables: Tables::default(),
            members: BTreeMap::new(),
            cluster_states: BTreeMap::new(),
            read: None,
            promises: Promises::default(),
            rested: BTreeMap::new(),
            now: Timestamp::from_second(1_700_000_000).unwrap(),
            mirror,
        };
        world.tables.journal = mirror.map(|_| Vec::new());
        for cluster in 0..CLUSTERS - 1 {
            world.join(cluster);
        }
        world
    }

    /// Applies an edit and runs its steps.
    pub(super) fn edit(&mut self, edit: &Edit) -> Result<(), String> {
        match &edit.what {
            What::App(app, change) => self.edit_app(*app, change),
            What::Cluster(cluster, change) => self.edit_cluster(*cluster, *change),
            What::Member(cluster, change) => self.edit_member(*cluster, *change),
            What::Directive(cluster, change) => {
                let (hub, tables) = (&self.hub, &mut self.tables);
                let ids: BTreeMap<String, AppId> =
                    tables.apps.values().map(|row| (row.key.name.clone(), row.id)).collect();
                let stored = |app: usize| ids.get(&hub.apps.get(&app)?.key.name).copied();
                tables.edit_directive(*cluster, *change, stored);
            }
        }
        self.watch()?;
        for step in &edit.steps {
            self.step(*step)?;
            self.watch().map_err(|broken| format!("{step:?}: {broken}"))?;
        }
        if edit.rest { self.rest() } else { Ok(()) }
    }

    fn edit_app(&mut self, app: usize, change: &AppEdit) {
        let written = match (change, self.hub.apps.get(&app)) {
            (AppEdit::Create, _) => self.hub.create(app),
            (AppEdit::Delete, Some(written)) => {
                let key = written.key.clone();
                self.hub.apps.remove(&app);
                let known = self.tables.apps.values().find(|row| row.key == key).map(|row| row.id);
                if let Some(id) = known {
                    self.tables.remove_application(id, Removal::Delete, None);
                }
                None
            }
            (_, Some(written)) => Some(written.edited(change)),
            (_, None) => None,
        };
        let Some(mut written) = written else { return };
        // An edit that intake refuses changes nothing.
        if let Ok((taken, revision)) = written.taken() {
            self.tables.take_application(&taken, revision);
            let previous = self.hub.apps.get(&app);
            let continues = self.rested.get(&app).is_some_and(|rested| written.continues(rested))
                && previous.is_none_or(|previous| written.continues(previous));
            if !continues {
                // A workload that continues neither name is another workload, without a promise.
                self.promises.drop(&written.key.name);
            }
            self.hub.apps.insert(app, written);
        }
    }

    fn edit_cluster(&mut self, cluster: usize, change: FleetEdit) {
        let name = fleet::name(cluster);
        match change {
            FleetEdit::Join => self.join(cluster),
            FleetEdit::Cordon(on) => self.set(&name, "cordoned", on),
            FleetEdit::Gold(on) => self.label(cluster, on),
            FleetEdit::Pool(cell, pool) => {
                if let Some(spec) =
                    self.tables.cells.get_mut(&fleet::cell_name(cluster, cell)).and_then(|row| row.spec.as_mut())
                {
                    spec["nodeSelector"] = json!({"pool": pool.to_string()});
                }
            }
            FleetEdit::Drain(on) => self.set(&name, "drain", on),
            FleetEdit::Silent(silent) => {
                if let Some(member) = self.members.get_mut(&cluster) {
                    member.answers = !silent;
                }
            }
            FleetEdit::Remove { delete } => {
                if let Some(row) = self.tables.clusters.get_mut(&name) {
                    row.taken.removal = Some(fleet::removal(delete));
                    // Replicas without another place are removed with the cluster, as the person requested.
                    self.promises.lower_to_elsewhere(&self.tables, &self.members, cluster);
                }
            }
            FleetEdit::Declare(cell) => {
                if self.tables.clusters.contains_key(&name) {
                    let row = fleet::declared_cell(cluster, cell, true);
                    self.tables.cells.insert(row.name.clone(), row);
                }
            }
            FleetEdit::Misdeclare(cell) => {
                if self.tables.cells.contains_key(&fleet::cell_name(cluster, cell)) {
                    let row = fleet::declared_cell(cluster, cell, false);
                    self.tables.cells.insert(row.name.clone(), row);
                }
            }
            FleetEdit::DeleteCell(cell) => {
                if let Some(row) = self.tables.cells.get_mut(&fleet::cell_name(cluster, cell)) {
                    row.leaving = true;
                }
            }
        }
    }

    fn set(&mut self, cluster: &str, field: &str, on: bool) {
        if let Some(row) = self.tables.clusters.get_mut(cluster) {
            fleet::set(row, field, on);
        }
    }

    /// Sets the labels of a cluster and of its declared cells.
    fn label(&mut self, cluster: usize, gold: bool) {
        let labels = if gold { json!({"tier": "gold"}) } else { json!({}) };
        if let Some(row) = self.tables.clusters.get_mut(&fleet::name(cluster)) {
            row.taken.labels = labels.clone();
        }
        for cell in [0, 1] {
            if let Some(row) = self.tables.cells.get_mut(&fleet::cell_name(cluster, cell)) {
                row.labels = labels.clone();
            }
        }
    }

    fn join(&mut self, cluster: usize) {
        let name = fleet::name(cluster);
        if self.tables.clusters.contains_key(&name) {
            return;
        }
        self.tables.clusters.insert(name.clone(), fleet::joined(cluster, self.now));
        self.tables.cells.entry(name).or_insert_with(|| fleet::implicit_cell(cluster));
        self.members.entry(cluster).or_default().answers = true;
        self.cluster_states.remove(&cluster);
    }

    fn edit_member(&mut self, cluster: usize, change: MemberEdit) {
        let Some(member) = self.members.get_mut(&cluster) else { return };
        match change {
            MemberEdit::DeleteObject(nth) => member.delete_nth(nth),
            MemberEdit::BreakPods(nth, count) => member.break_pods(nth, count),
            MemberEdit::Linger(steps) => member.lingering = steps,
        }
        // No decision removed these objects or pods, and decisions may count on them until their loss is observed.
        self.promises.drop_all();
    }

    /// Available replicas of an application in all members.
    pub(super) fn available(&self, app: &str) -> i32 {
        super::check::available(&self.members, app)
    }

    fn watch(&mut self) -> Result<(), String> {
        if let Some(mirror) = self.mirror {
            mirror.borrow_mut().follow(&mut self.tables)?;
        }
        self.promises.hold(&self.hub, &self.tables, &self.members)
    }

    fn step(&mut self, step: Step) -> Result<bool, String> {
        self.now = self.now.checked_add(SignedDuration::from_secs(30)).unwrap();
        self.judge();
        match step {
            Step::Decide => self.decide(),
            Step::Read => {
                self.read = self.decisions()?;
                Ok(true)
            }
            Step::Write => match self.read.take() {
                Some(decisions) => self.write(&decisions),
                None => Ok(false),
            },
            Step::Deliver(cluster) => self.deliver(cluster),
            Step::Work(cluster) => {
                if let Some(member) = self.members.get_mut(&cluster) {
                    member.work();
                }
                Ok(true)
            }
            Step::Restart => {
                self.cluster_states.clear();
                self.read = None;
                Ok(true)
            }
        }
    }

    /// Updates the health of clusters as delivery would.
    fn judge(&mut self) {
        for cluster in 0..CLUSTERS {
            let answers = self.members.get(&cluster).is_some_and(|member| member.answers);
            let Some(row) = self.tables.clusters.get_mut(&fleet::name(cluster)) else { continue };
            let before = row.status.clone().unwrap_or_else(|| fleet::well(cluster, self.now));
            row.status = Some(if answers { fleet::well(cluster, self.now) } else { fleet::silent(&before, self.now) });
        }
    }

    fn decisions(&self) -> Result<Option<Decisions>, String> {
        let apps: Vec<AppId> = self.tables.apps.keys().copied().collect();
        if apps.is_empty() {
            return Ok(None);
        }
        let rows = apps.iter().map(|app| self.tables.app_rows(*app)).collect();
        let owners = |objects: &[_]| self.tables.owners(objects);
        let window = self.tables.delete_window();
        let decided = decide(self.tables.fleet_rows(), rows, owners, window, self.now, STALE_AFTER);
        decided.map(Some).map_err(|error| error.to_string())
    }

    /// Decides and writes. Returns whether any row was written.
    fn decide(&mut self) -> Result<bool, String> {
        let Some(decisions) = self.decisions()? else { return Ok(false) };
        self.write(&decisions)
    }

    fn write(&mut self, decisions: &Decisions) -> Result<bool, String> {
        let written = self.tables.commit(decisions)?;
        for app in &decisions.over {
            self.tables.forget_application(*app);
        }
        self.confirm_deletes();
        self.forget_places();
        Ok(written)
    }

    /// Confirms every request of the mass-delete guard, as a person would.
    fn confirm_deletes(&mut self) {
        for row in self.tables.apps.values_mut() {
            let pending = row.decision.as_ref().and_then(|decision| decision["pending"]["plan"].as_str());
            if let Some(plan) = pending.and_then(|plan| plan.parse::<ContentHash>().ok()) {
                row.delete_confirmed = Some(plan);
            }
        }
    }

    /// `cluster_forget` and `cell_forget`.
    fn forget_places(&mut self) {
        let placed = |cluster: &str| self.tables.placements.values().any(|row| row.cluster == cluster);
        let gone: Vec<String> = self
            .tables
            .clusters
            .values()
            .filter(|row| row.taken.removal.is_some() && !placed(&row.taken.name))
            .map(|row| row.taken.name.clone())
            .collect();
        for name in gone {
            self.tables.clusters.remove(&name);
            self.tables.cells.remove(&name);
            self.tables.booking_versions.remove(&name);
            for rows in self.tables.reservations.values_mut() {
                rows.retain(|row| row.cluster != name);
            }
        }
        let left: Vec<String> = self
            .tables
            .cells
            .values()
            .filter(|cell| cell.leaving && !self.tables.placements.values().any(|row| row.cell == cell.name))
            .map(|cell| cell.name.clone())
            .collect();
        for name in left {
            self.tables.cells.remove(&name);
        }
    }

    pub(super) fn topology(&self) -> Topology {
        let clusters = self.tables.clusters.values().map(|row| StoredCluster {
            name: row.taken.name.clone(),
            labels: row.taken.labels.clone(),
            spec: row.taken.spec.clone(),
            leaving: row.taken.removal.is_some(),
            health: None,
            kinds: Value::Null,
            capacity: Value::Null,
        });
        let cells = self.tables.cells.values().filter_map(|row| {
            Some(StoredCell {
                name: row.name.clone(),
                labels: row.labels.clone(),
                spec: row.spec.clone()?,
                leaving: row.leaving,
            })
        });
        topology_from_rows(clusters.collect(), cells.collect()).0
    }

    /// Runs until the model settles, with every member answering, and checks the result.
    pub(super) fn rest(&mut self) -> Result<(), String> {
        for member in self.members.values_mut() {
            member.answers = true;
        }
        self.read = None;
        for _ in 0..ROUNDS {
            let mut moved = self.step(Step::Decide)?;
            self.watch()?;
            for cluster in 0..CLUSTERS {
                moved |= self.step(Step::Deliver(cluster))?;
                self.watch()?;
                moved |= self.members.get(&cluster).is_some_and(|member| !member.is_quiet());
                self.step(Step::Work(cluster))?;
                self.watch()?;
            }
            if !moved {
                self.rested = self.hub.apps.clone();
                self.promises.renew(&self.hub, &self.tables, &self.members);
                return super::check::at_rest(self);
            }
        }
        Err(format!("nothing comes to rest: {}", super::check::describe(self)))
    }
}
