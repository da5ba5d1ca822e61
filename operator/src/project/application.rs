//! Shows one Application.

use std::collections::HashMap;

use crds::condition::{self, Status, condition};
use crds::{Application, ApplicationStatus};
use domain::intent::Intent;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Api;
use store::StoreError;
use vocabulary::AppKey;

use super::status::{Facts, says_the_same};
use super::{Project, ProjectError, events};
use crate::hub::write_status;
use crate::intake::APPLICATION;

pub(super) async fn show(project: &Project, key: &AppKey) -> Result<(), ProjectError> {
    let Some(object) = project.view.applications.get(key) else { return Ok(()) };
    let shown = object.status.clone().unwrap_or_default();
    let refusal = project.refusals.get(APPLICATION, key);
    let generation = object.metadata.generation.unwrap_or_default();
    let now = Timestamp::now();
    let wanted = if let Some(row) = project.store.application_get(key).await? {
        // Status speaks of the generation the placement follows, so nobody takes an older state for the newer spec's.
        let generation = if refusal.is_some() { generation } else { row.decided_generation };
        let apps = [row.id];
        let (rows, status, revisions, fleet) = tokio::try_join!(
            project.store.placement_list(&apps),
            project.store.status_list(&apps),
            project.store.revision_list(row.id),
            project.fleet.view(&project.store),
        )?;
        let status: HashMap<_, _> = status.into_iter().map(|status| (status.placement, status)).collect();
        let intent: Intent = serde_json::from_value(row.intent.clone())
            .map_err(|error| StoreError::Corrupt { what: "application.intent", reason: error.to_string() })?;
        Facts {
            row: &row,
            intent: &intent,
            rows: &rows,
            status: &status,
            revisions: &revisions,
            topology: &fleet.topology,
            seen: &fleet.seen,
            refusal,
            before: &shown.conditions,
            generation,
            now,
            stale_after: project.stale_after,
        }
        .status()
    } else {
        let Some(refusal) = refusal else { return Ok(()) };
        let make = |type_, status, reason: &str, message: &str| {
            condition(type_, status, reason, message, Some(generation), Time(now))
        };
        let conditions = vec![
            make(condition::READY, Status::False, refusal.reason, &refusal.message),
            make(condition::RECONCILING, Status::False, "Idle", ""),
            make(condition::STALLED, Status::True, "NeedsAPerson", &refusal.message),
        ];
        ApplicationStatus {
            observed_generation: Some(generation),
            conditions: condition::merge(&shown.conditions, conditions),
            ..ApplicationStatus::default()
        }
    };
    if says_the_same(&shown, &wanted) {
        return Ok(());
    }
    let api = Api::<Application>::namespaced(project.hub.clone(), &key.namespace);
    write_status(&api, &key.name, &wanted).await?;
    events::tell(&project.recorder, &*object, &shown.conditions, &wanted.conditions).await;
    Ok(())
}
