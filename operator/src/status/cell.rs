//! Writes the status of one declared Cell.

use crds::condition::{self, Status, condition};
use crds::{Cell, CellStatus};
use domain::stored_topology::{StoredCell, topology_from_rows};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Api;
use vocabulary::AppKey;

use super::{StatusError, StatusStage, fleet, unreadable};
use crate::hub::write_status;
use crate::intake::CELL;

const LEAVING: &str = "it is being deleted, which ends when nothing is placed in it any more: replicas move to other cells \
    first; what is not divided stays until its Application does not select the cell or does not declare it any more; \
    `kubectl get mapp -A` shows what is placed where";

pub(super) async fn show(stage: &StatusStage, name: &str) -> Result<(), StatusError> {
    let key = AppKey { namespace: String::new(), name: name.to_owned() };
    let api = Api::<Cell>::all(stage.hub.clone());
    if let Some(why) = stage.view.cells.unreadable(&key) {
        return unreadable::show(stage, &api, name, &why).await;
    }
    let Some(object) = stage.view.cells.get(&key) else { return Ok(()) };
    let shown = object.status.clone().unwrap_or_default();
    let generation = object.metadata.generation.unwrap_or_default();
    let leaving = object.metadata.deletion_timestamp.is_some();
    let clusters = stage.store.cluster_list().await?.into_iter().map(fleet::stored).collect();
    let spec = serde_json::to_value(&object.spec).unwrap_or_default();
    let labels = serde_json::to_value(&object.metadata.labels).unwrap_or_default();
    let (topology, problems) =
        topology_from_rows(clusters, vec![StoredCell { name: name.to_owned(), labels, spec, leaving }]);
    let facts = topology.cells.get(name).filter(|facts| facts.declared);
    let own = problems.iter().filter(|problem| problem.kind == "Cell" && problem.name == name);
    let problem = own.max_by_key(|problem| problem.excluded);
    let refusal = stage.refusals.get(CELL, &key);
    let (status, reason, message) = match (refusal, facts, problem) {
        (Some(refusal), ..) => (Status::False, refusal.reason, refusal.message),
        _ if leaving => (Status::False, "Leaving", LEAVING.to_owned()),
        (None, Some(_), None) => (Status::True, "Ready", String::new()),
        (None, Some(_), Some(problem)) if !problem.excluded => (Status::True, problem.reason, problem.message.clone()),
        (None, _, Some(problem)) => (Status::False, problem.reason, problem.message.clone()),
        (None, None, None) => (Status::Unknown, "Pending", String::new()),
    };
    let ready = condition(condition::READY, status, reason, message, Some(generation), Time(Timestamp::now()));
    let wanted = CellStatus {
        observed_generation: Some(generation),
        zone: facts.map(domain::topology::CellFacts::zone_text),
        conditions: condition::merge(&shown.conditions, vec![ready]),
    };
    let same = shown.observed_generation == wanted.observed_generation
        && shown.zone == wanted.zone
        && shown
            .conditions
            .iter()
            .map(|one| (&one.status, &one.reason, &one.message))
            .eq(wanted.conditions.iter().map(|one| (&one.status, &one.reason, &one.message)));
    if same {
        return Ok(());
    }
    Ok(write_status(&stage.hub, &api, name, &wanted).await?)
}
