//! Which objects are to exist, given where replicas go and which revision each cell runs. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crds::application::v1alpha1::Scope;
use domain::render::{ComponentPlan, object_names};
use domain::stored_revision::StoredRevision;
use domain::topology::{CellFacts, Topology};
use store::PlacementRow;
use vocabulary::{CellName, ClusterName, ContentHash, ObjectKey};

/// One object that is to exist.
#[derive(Debug, Clone)]
pub(crate) struct Desired<'a> {
    pub(crate) component: &'a ComponentPlan,
    pub(crate) cell: CellName,
    pub(crate) cluster: ClusterName,
    pub(crate) revision: ContentHash,
    pub(crate) target: i32,
    pub(crate) divided: bool,
    /// Names in order of preference.
    pub(crate) names: Vec<String>,
}

impl Desired<'_> {
    /// Whether an existing row stands for this object: names never change once they are fixed.
    pub(crate) fn is(&self, row: &PlacementRow) -> bool {
        row.component == self.component.name
            && row.cell == self.cell.as_str()
            && row.cluster == self.cluster.as_str()
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

fn group(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

/// Where an application is, and which revision each place runs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places {
    /// Replicas of the Divided component per cell that holds the application; for applications where nothing is
    /// divided every number is 0.
    pub(crate) cells: BTreeMap<CellName, i32>,
    /// Revision per cell.
    pub(crate) revisions: BTreeMap<CellName, ContentHash>,
}

/// The objects that are to exist. `suspended` runs nothing: scalable objects stay at zero.
pub(crate) fn desired<'a>(
    topology: &Topology,
    places: &Places,
    wanted: ContentHash,
    revisions: &'a BTreeMap<ContentHash, Arc<StoredRevision>>,
    existing: &[PlacementRow],
    suspended: bool,
) -> Vec<Desired<'a>> {
    let mut objects = Vec::new();
    let mut clusters: BTreeMap<ClusterName, ContentHash> = BTreeMap::new();
    for (cell, replicas) in &places.cells {
        let Some(facts) = topology.cells.get(cell) else { continue };
        let revision = places.revisions.get(cell).copied().unwrap_or(wanted);
        let in_cluster = clusters.entry(facts.cluster.clone()).or_insert(revision);
        if revision == wanted {
            *in_cluster = wanted;
        }
        let Some(parsed) = revisions.get(&revision) else { continue };
        for component in &parsed.blueprint.components {
            match component.scope {
                Scope::Divided => objects.push(object(component, facts, revision, *replicas, true)),
                Scope::PerCell => {
                    objects.push(object(component, facts, revision, own_replicas(component, suspended), false));
                }
                Scope::PerCluster | Scope::Once => {}
            }
        }
    }
    let mut once: BTreeSet<&str> = BTreeSet::new();
    for (cluster, revision) in &clusters {
        let Some(implicit) = topology.cells.get(cluster.as_str()) else { continue };
        let Some(parsed) = revisions.get(revision) else { continue };
        for component in &parsed.blueprint.components {
            let here = match component.scope {
                Scope::PerCluster => true,
                Scope::Once => once_here(component, cluster, &clusters, existing) && once.insert(&component.name),
                Scope::Divided | Scope::PerCell => false,
            };
            if here {
                objects.push(object(component, implicit, *revision, own_replicas(component, suspended), false));
            }
        }
    }
    objects
}

/// A component that is there once stays where it is, whatever becomes of the rest: moving it would run it again. It
/// goes to the first cluster when it is nowhere.
fn once_here(
    component: &ComponentPlan,
    cluster: &ClusterName,
    clusters: &BTreeMap<ClusterName, ContentHash>,
    existing: &[PlacementRow],
) -> bool {
    let home = existing
        .iter()
        .find(|row| row.component == component.name && row.object.kind == component.kind)
        .map(|row| row.cluster.as_str());
    home.or_else(|| clusters.keys().next().map(ClusterName::as_str)) == Some(cluster.as_str())
}

fn own_replicas(component: &ComponentPlan, suspended: bool) -> i32 {
    if suspended || !component.workload { 0 } else { component.replicas.unwrap_or(1) }
}

fn object<'a>(
    component: &'a ComponentPlan,
    cell: &CellFacts,
    revision: ContentHash,
    target: i32,
    divided: bool,
) -> Desired<'a> {
    let mut names = object_names(component, cell).to_vec();
    if names.first() == Some(&component.object_name) {
        // A name a person chose is never replaced by another: a second owner is refused.
        names.truncate(1);
    }
    Desired { component, cell: cell.name.clone(), cluster: cell.cluster.clone(), revision, target, divided, names }
}
