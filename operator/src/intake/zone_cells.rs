//! Creates one Cell per zone of a Cluster that requests it.
//!
//! The operator creates missing Cells and changes none, so additions by users stay. The operator deletes the Cells only
//! with their Cluster, after everything placed there is gone.

use std::collections::BTreeMap;
use std::sync::Arc;

use crds::{Cell, Cluster, ClusterSpec};
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use vocabulary::{AppKey, CellName, labels};

use super::{Intake, IntakeError, Refusal};
use crate::hub::HubError;

/// Field manager of the created Cells.
const CELL_MANAGER: &str = "meridian-cells";

/// Zone of each Cell of a cluster, by name of the Cell.
type ZoneCells = BTreeMap<String, String>;

/// Object on the hub that has the name of a Cell.
#[derive(Debug, Clone, PartialEq, Eq)]
enum NameHolder {
    Cluster,
    /// A Cell of that cluster and zone.
    Cell {
        cluster: String,
        zone: Option<String>,
    },
}

/// Returns the Cells that the spec requests.
///
/// # Errors
/// Returns a sentence with field and remedy when a zone gives no name, or when another object has the name.
fn plan(cluster: &str, spec: &ClusterSpec, known: impl Fn(&str) -> Option<NameHolder>) -> Result<ZoneCells, String> {
    let mut cells = ZoneCells::new();
    let by_hand = "declare the Cells of this cluster by hand, each with spec.cluster and spec.zone, and leave spec.cellPerZone out";
    for zone in spec.zones.iter().filter(|_| spec.cell_per_zone) {
        let name = name_of(cluster, zone);
        if let Err(error) = name.parse::<CellName>() {
            return Err(format!("spec.cellPerZone: zone {zone} gives no name of a Cell: {error}; {by_hand}"));
        }
        match known(&name) {
            None => {}
            Some(NameHolder::Cell { cluster: of, zone: in_zone })
                if of == cluster && in_zone.as_ref() == Some(zone) => {}
            Some(NameHolder::Cell { cluster: of, .. }) => {
                return Err(format!(
                    "spec.cellPerZone: Cell {name} is declared already, for cluster {of} and not for zone {zone} of this one; delete it, or {by_hand}"
                ));
            }
            Some(NameHolder::Cluster) => {
                return Err(format!(
                    "spec.cellPerZone: a Cluster has the name {name} of the Cell of zone {zone}; {by_hand}"
                ));
            }
        }
        if cells.get(&name).is_some_and(|other| other != zone) {
            return Err(format!("spec.cellPerZone: two zones give the name {name}; {by_hand}"));
        }
        cells.insert(name, zone.clone());
    }
    Ok(cells)
}

/// Returns the name of the Cell of a zone.
///
/// Characters that are not allowed in names of Cells become `-`.
fn name_of(cluster: &str, zone: &str) -> String {
    let zone: String =
        zone.to_ascii_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    format!("{cluster}-{zone}")
}

/// Returns the Cell to create.
///
/// The Cell has a node selector of its own, so it stays the same when the cluster has only one zone left.
fn manifest(cluster: &str, name: &str, zone: &str) -> Value {
    json!({
        "apiVersion": "fleet.meridian.io/v1alpha1",
        "kind": "Cell",
        "metadata": { "name": name, "labels": { labels::CELL_PER_ZONE: cluster } },
        "spec": { "cluster": cluster, "zone": zone, "nodeSelector": { labels::NODE_ZONE: zone } },
    })
}

fn planned(intake: &Intake, object: &Cluster) -> Result<ZoneCells, String> {
    let key = |name: &str| AppKey { namespace: String::new(), name: name.to_owned() };
    plan(&object.name_any(), &object.spec, |name| {
        if intake.view.clusters.get(&key(name)).is_some() {
            return Some(NameHolder::Cluster);
        }
        let cell = intake.view.cells.get(&key(name))?;
        Some(NameHolder::Cell { cluster: cell.spec.cluster.clone(), zone: cell.spec.zone.clone() })
    })
}

/// Returns why the Cluster cannot have a Cell per zone, if it requests one.
pub(super) fn refuse(intake: &Intake, object: &Cluster) -> Option<Refusal> {
    let message = planned(intake, object).err()?;
    let generation = object.metadata.generation.unwrap_or_default();
    Some(Refusal { reason: "CellPerZone", message, generation, taken: None })
}

/// Creates the missing Cells. The call is idempotent.
pub(super) async fn declare(intake: &Intake, object: &Cluster) -> Result<(), IntakeError> {
    if !object.spec.cell_per_zone || !intake.view.cells.is_complete() {
        return Ok(());
    }
    // A name that was taken meanwhile is reported with the next intake of the Cluster.
    let Ok(cells) = planned(intake, object) else { return Ok(()) };
    let api = Api::<Cell>::all(intake.hub.clone());
    for (name, zone) in cells {
        if intake.view.cells.get(&AppKey { namespace: String::new(), name: name.clone() }).is_some() {
            continue;
        }
        let cell = manifest(&object.name_any(), &name, &zone);
        // Not forced, so that a Cell that another client created meanwhile stays unchanged.
        match api.patch(&name, &PatchParams::apply(CELL_MANAGER), &Patch::Apply(&cell)).await {
            Ok(_) => tracing::info!(cell = name, cluster = %object.name_any(), zone, "a Cell was declared for a zone"),
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(source) => return Err(HubError::Cell { name, source: Box::new(source) }.into()),
        }
    }
    Ok(())
}

/// Deletes the Cells that were created for a Cluster that is gone.
pub(super) async fn withdraw(intake: &Intake, cluster: &str) -> Result<(), IntakeError> {
    let api = Api::<Cell>::all(intake.hub.clone());
    let all = intake.view.cells.keys().into_iter().filter_map(|key| intake.view.cells.get(&key));
    let is_made = |cell: &Arc<Cell>| {
        cell.labels().get(labels::CELL_PER_ZONE).is_some_and(|of| of == cluster) && cell.spec.cluster == cluster
    };
    for cell in all.filter(is_made) {
        let same = Preconditions { uid: cell.uid(), resource_version: None };
        let name = cell.name_any();
        match api.delete(&name, &DeleteParams { preconditions: Some(same), ..DeleteParams::default() }).await {
            Ok(_) => {}
            // The Cell is gone, or another Cell has the name.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
            Err(source) => return Err(HubError::Cell { name, source: Box::new(source) }.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(zones: &[&str], cell_per_zone: bool) -> ClusterSpec {
        serde_json::from_value(json!({
            "region": "r", "zones": zones, "cellPerZone": cell_per_zone, "uid": "u",
            "connection": { "server": "https://m:6443" },
        }))
        .unwrap()
    }

    #[test]
    fn every_zone_gets_a_cell_of_its_own() {
        let nothing = |_: &str| None;
        let cells = plan("north", &spec(&["n1", "EU_West.1a"], true), nothing).unwrap();
        let expected = [("north-eu-west-1a", "EU_West.1a"), ("north-n1", "n1")];
        assert_eq!(cells, expected.map(|(name, zone)| (name.to_owned(), zone.to_owned())).into());
        assert_eq!(plan("north", &spec(&["n1", "n2"], false), nothing), Ok(ZoneCells::new()));
        let cell: Cell = serde_json::from_value(manifest("north", "north-n1", "n1")).unwrap();
        assert_eq!(cell.spec.node_selector, [(labels::NODE_ZONE.to_owned(), "n1".to_owned())].into());
    }

    #[test]
    fn a_name_that_is_taken_is_refused_with_the_remedy() {
        let of =
            |cluster: &str, zone: &str| NameHolder::Cell { cluster: cluster.to_owned(), zone: Some(zone.to_owned()) };
        let long = "z".repeat(63);
        for (case, zones, known, expected) in [
            ("the Cell itself", vec!["n1"], Some(of("north", "n1")), None),
            ("of another cluster", vec!["n1"], Some(of("south", "n1")), Some("Cell north-n1 is declared already")),
            ("of another zone", vec!["n1"], Some(of("north", "n2")), Some("delete it, or declare the Cells")),
            ("a cluster", vec!["n1"], Some(NameHolder::Cluster), Some("a Cluster has the name north-n1")),
            ("two zones, one name", vec!["n.1", "n_1"], None, Some("two zones give the name north-n-1")),
            ("too long", vec![long.as_str()], None, Some("gives no name of a Cell")),
        ] {
            let outcome = plan("north", &spec(&zones, true), |_| known.clone());
            match (outcome, expected) {
                (Ok(_), None) => {}
                (Err(message), Some(expected)) => assert!(message.contains(expected), "{case}: {message}"),
                (outcome, _) => panic!("{case}: {outcome:?}"),
            }
        }
    }
}
