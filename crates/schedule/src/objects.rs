//! Derives the objects that are to exist from the plan of each cell. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crds::application::v1alpha1::Scope;
use domain::render::{Blueprint, ComponentPlan};
use domain::stored_revision::StoredRevision;
use domain::topology::{CellFacts, Topology};
use store::{DesiredState, PlacementRow, Slot};
use vocabulary::{CellInputs, CellName, ClusterName, ContentHash, ObjectKey};

use crate::cells::{CellPlan, GrayPlan, Holds, has_identity};
use crate::identity::{group, is_of_component, slot_names};

/// One object that is to exist.
#[derive(Debug, Clone)]
pub(crate) struct Desired<'a> {
    pub(crate) component: &'a ComponentPlan,
    pub(crate) cell: CellName,
    pub(crate) slot: Slot,
    pub(crate) cluster: ClusterName,
    pub(crate) revision: ContentHash,
    pub(crate) target: i32,
    pub(crate) divided: bool,
    /// Values that the object takes from its cell.
    pub(crate) inputs: CellInputs,
    /// Names that the object may have, in order of preference.
    pub(crate) names: Vec<String>,
}

impl Desired<'_> {
    /// Returns whether the row is in the object's cluster and has one of its possible identities.
    ///
    /// A row's name never changes once it is fixed.
    pub(crate) fn is_of(&self, row: &PlacementRow) -> bool {
        row.cluster == self.cluster.as_str()
            && row.slot == self.slot
            && row.object.kind == self.component.kind
            && row.object.group() == group(&self.component.api_version)
            && self.names.contains(&row.object.name)
    }

    pub(crate) fn key(&self, namespace: &str, name: &str) -> ObjectKey {
        ObjectKey {
            api_version: self.component.api_version.clone(),
            kind: self.component.kind.clone(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}

/// Inputs that decide which objects are to exist.
#[derive(Debug)]
pub(crate) struct ObjectInputs<'a> {
    pub(crate) topology: &'a Topology,
    pub(crate) cells: &'a BTreeMap<CellName, CellPlan>,
    pub(crate) wanted: ContentHash,
    pub(crate) revisions: &'a BTreeMap<ContentHash, Arc<StoredRevision>>,
    pub(crate) existing: &'a [PlacementRow],
    /// The application is suspended: scalable objects have zero replicas.
    pub(crate) suspended: bool,
}

impl<'a> ObjectInputs<'a> {
    /// Returns the objects that are to exist.
    pub(crate) fn objects(&self) -> Vec<Desired<'a>> {
        let mut objects = Vec::new();
        // Objects of a cluster follow the plan of its first cell, or of the first cell that has the wanted revision and
        // inputs.
        let mut clusters: BTreeMap<ClusterName, &CellPlan> = BTreeMap::new();
        let mut grays: BTreeMap<ClusterName, &GrayPlan> = BTreeMap::new();
        for (cell, plan) in self.cells {
            let Some(facts) = self.topology.cells.get(cell) else { continue };
            let leads = |plan: &CellPlan| (plan.is_current(self.wanted), plan.revision == self.wanted);
            let in_cluster = clusters.entry(facts.cluster.clone()).or_insert(plan);
            if leads(plan) > leads(in_cluster) {
                *in_cluster = plan;
            }
            self.in_cell(facts, plan, &mut objects);
            if let Some(gray) = &plan.gray {
                grays.entry(facts.cluster.clone()).or_insert(gray);
                self.in_gray_slot(facts, plan.revision, gray, &mut objects);
            }
        }
        let mut once: BTreeSet<&str> = BTreeSet::new();
        for (cluster, plan) in &clusters {
            let Some(implicit) = self.topology.cells.get(cluster.as_str()) else { continue };
            let Some(parsed) = self.revisions.get(&plan.revision) else { continue };
            for component in &parsed.blueprint.components {
                let here = match component.scope {
                    Scope::PerCluster => true,
                    Scope::Once => {
                        self.is_home(component, &parsed.blueprint, cluster, &clusters) && once.insert(&component.name)
                    }
                    Scope::Divided | Scope::PerCell => false,
                };
                if here {
                    let target = self.own_replicas(component);
                    objects.push(object(
                        component,
                        implicit,
                        plan.revision,
                        &plan.inputs.current.cluster,
                        target,
                        false,
                    ));
                }
            }
        }
        for (cluster, gray) in &grays {
            let Some(implicit) = self.topology.cells.get(cluster.as_str()) else { continue };
            let Some(main) = clusters.get(cluster).map(|plan| plan.revision) else { continue };
            for component in self.only_in(gray.revision, main).filter(|one| one.scope == Scope::PerCluster) {
                objects.push(object(component, implicit, gray.revision, &gray.inputs.cluster, 0, false));
            }
        }
        objects
    }

    fn in_cell(&self, facts: &CellFacts, plan: &CellPlan, objects: &mut Vec<Desired<'a>>) {
        let Some(parsed) = self.revisions.get(&plan.revision) else { return };
        let inputs = &plan.inputs.current.cell;
        for component in &parsed.blueprint.components {
            let stays = plan.holds == Holds::Identities && (has_identity(&component.kind) || !component.workload);
            let everything = plan.holds == Holds::Everything;
            match component.scope {
                Scope::Divided if everything => {
                    objects.push(object(component, facts, plan.revision, inputs, plan.main_target(), true));
                }
                Scope::PerCell if everything || stays => {
                    let inputs = CellInputs { zone_spread: None, ..inputs.clone() };
                    let target = self.own_replicas(component);
                    objects.push(object(component, facts, plan.revision, &inputs, target, false));
                }
                _ => {}
            }
        }
    }

    /// Adds the gray workload of a cell, and the objects that only its revision has and that its pods may need.
    ///
    /// An object of both revisions stays as the main slot's revision has it.
    fn in_gray_slot(&self, facts: &CellFacts, main: ContentHash, gray: &GrayPlan, objects: &mut Vec<Desired<'a>>) {
        let inputs = CellInputs { zone_spread: None, ..gray.inputs.cell.clone() };
        for component in self.only_in(gray.revision, main).filter(|one| one.scope == Scope::PerCell) {
            objects.push(object(component, facts, gray.revision, &inputs, 0, false));
        }
        let Some(parsed) = self.revisions.get(&gray.revision) else { return };
        let Some(component) = parsed.blueprint.divided.map(|index| &parsed.blueprint.components[index]) else { return };
        let workload = object(component, facts, gray.revision, &gray.inputs.cell, gray.target, true);
        let names = slot_names(component, facts, Slot::Gray).to_vec();
        objects.push(Desired { slot: Slot::Gray, names, ..workload });
    }

    /// Returns the components without pods whose objects only the first of two revisions has.
    fn only_in(&self, revision: ContentHash, other: ContentHash) -> impl Iterator<Item = &'a ComponentPlan> + use<'a> {
        let components = |revision| self.revisions.get(&revision).map(|one| one.blueprint.components.as_slice());
        let others = components(other).unwrap_or_default();
        let is_there = move |component: &ComponentPlan| {
            let is_same = |one: &ComponentPlan| {
                one.kind == component.kind
                    && group(&one.api_version) == group(&component.api_version)
                    && one.object_name == component.object_name
            };
            others.iter().any(is_same)
        };
        let known = components(revision).unwrap_or_default().iter();
        known.filter(move |component| !component.workload && !is_there(component))
    }

    /// Returns whether the cluster is where a component with scope `Once` belongs.
    ///
    /// A component that exists stays where it is, whatever happens to the rest, because moving it would run it again. A
    /// new component goes where the other `Once` components are, because they may name each other. The first such
    /// component goes to the first cluster.
    fn is_home(
        &self,
        component: &ComponentPlan,
        blueprint: &Blueprint,
        cluster: &ClusterName,
        clusters: &BTreeMap<ClusterName, &CellPlan>,
    ) -> bool {
        let home_of = |component: &ComponentPlan| {
            let is_home = |row: &&PlacementRow| {
                row.desired_state == DesiredState::Present
                    && (is_of_component(self.topology, row, component)
                        || row.component == component.name && row.object.kind == component.kind)
            };
            let home = self.existing.iter().find(is_home).map(|row| row.cluster.as_str());
            home.filter(|home| clusters.contains_key(*home))
        };
        let others = || blueprint.components.iter().filter(|other| other.scope == Scope::Once).find_map(home_of);
        let home = home_of(component).or_else(others);
        home.or_else(|| clusters.keys().next().map(ClusterName::as_str)) == Some(cluster.as_str())
    }

    fn own_replicas(&self, component: &ComponentPlan) -> i32 {
        if self.suspended || !component.workload { 0 } else { component.replicas.unwrap_or(1) }
    }
}

fn object<'a>(
    component: &'a ComponentPlan,
    cell: &CellFacts,
    revision: ContentHash,
    inputs: &CellInputs,
    target: i32,
    divided: bool,
) -> Desired<'a> {
    let mut names = slot_names(component, cell, Slot::Main).to_vec();
    if names.first() == Some(&component.object_name) {
        // A name that a person chose is never replaced by another name. A second owner of that name is refused.
        names.truncate(1);
    }
    let (cell, cluster) = (cell.name.clone(), cell.cluster.clone());
    Desired { component, cell, slot: Slot::Main, cluster, revision, target, divided, inputs: inputs.clone(), names }
}

#[cfg(test)]
mod tests {
    use domain::topology::{CellState, Topology};
    use serde_json::json;
    use store::Slot;
    use vocabulary::AppKey;

    use super::*;

    fn cell(name: &str) -> CellFacts {
        CellFacts {
            name: name.parse().unwrap(),
            cluster: name.parse().unwrap(),
            region: "r".to_owned(),
            zones: vec!["z".to_owned()],
            declared: false,
            state: CellState::Open,
            labels: BTreeMap::new(),
            node_selector: BTreeMap::new(),
            unit: None,
            unit_kind: None,
            pair: None,
        }
    }

    fn job(cluster: &str, desired_state: DesiredState) -> PlacementRow {
        PlacementRow {
            id: 1.into(),
            app: 1.into(),
            component: "job".to_owned(),
            cell: cluster.to_owned(),
            slot: Slot::Main,
            cluster: cluster.to_owned(),
            object: ObjectKey {
                api_version: "batch/v1".to_owned(),
                kind: "Job".to_owned(),
                namespace: "shop".to_owned(),
                name: "job".to_owned(),
            },
            rank: 50,
            divided: false,
            inputs: None,
            target: 1,
            floor: 0,
            surge: 0,
            plan_epoch: 1,
            revision: ContentHash::of(b"job"),
            desired_state,
        }
    }

    #[test]
    fn components_that_run_once_share_their_home() {
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "runner"}});
        let pods = json!({"spec": {"serviceAccountName": "runner", "restartPolicy": "Never", "containers": [{"name": "job", "image": "job:1"}]}});
        let template =
            json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "job"}, "spec": {"template": pods}});
        let body = json!({"components": [{"name": "runner", "scope": "Once", "template": account},
            {"name": "job", "scope": "Once", "template": template}]});
        let app = AppKey { namespace: "shop".to_owned(), name: "web".to_owned() };
        let parsed = Arc::new(StoredRevision::parse(&app, body.to_string().as_bytes()).unwrap());
        let wanted = ContentHash::of(b"job");
        let names = ["east", "west"];
        let topology = Topology {
            cells: names.iter().map(|name| (name.parse().unwrap(), cell(name))).collect(),
            ..Topology::default()
        };
        let plan = CellPlan {
            revision: wanted,
            target: 1,
            next: wanted,
            gray: None,
            holds: Holds::Everything,
            inputs: crate::cell_inputs::InputsPlan::default(),
        };
        for (case, existing, cells, home) in [
            ("nothing is there", vec![], &names[..], "east"),
            ("the Job runs", vec![job("west", DesiredState::Present)], &names[..], "west"),
            ("the Job leaves", vec![job("west", DesiredState::Delete)], &names[..], "east"),
            ("its cluster is left", vec![job("west", DesiredState::Present)], &names[..1], "east"),
        ] {
            let inputs = ObjectInputs {
                topology: &topology,
                cells: &cells.iter().map(|name| (name.parse().unwrap(), plan.clone())).collect(),
                wanted,
                revisions: &BTreeMap::from([(wanted, Arc::clone(&parsed))]),
                existing: &existing,
                suspended: false,
            };
            let found: Vec<(String, String)> = inputs
                .objects()
                .iter()
                .map(|object| (object.component.name.clone(), object.cluster.as_str().to_owned()))
                .collect();
            let expected = ["runner", "job"].map(|name| (name.to_owned(), home.to_owned()));
            assert_eq!(found, expected, "{case}");
        }
    }
}
