//! Plans a drain: which Applications move, and what stays.

use std::collections::BTreeSet;

use domain::operation::{EffectClass, LockKey, LockRequest, OnFailure, Plan, Require, Retry, Step};
use domain::placement::DirectiveTarget;
use domain::topology::CellFacts;
use flow::{PlanFailure, Planned};
use serde_json::{Value, json};
use store::Store;

use super::spec::{DrainSpec, place_text};
use crate::fleet::{Resident, cells_of, residents, topology};

/// Timeout for a write to the database, in seconds.
const WRITE_TIMEOUT_SECONDS: u32 = 120;
/// Maximum number of Applications that one drain moves. Each has a directive of the operation until all have moved.
const APPLICATIONS_MAX: usize = 9_000;
/// Maximum number of Applications in a preview.
const PREVIEW_MAX: usize = 200;

pub(super) async fn plan(store: &Store, spec: &Value) -> Result<Planned, PlanFailure> {
    let request = DrainSpec::parse(spec)?;
    let place = request.place()?;
    let (fleet, _) = topology(store).await?;
    let covered = cells_of(&fleet, &place);
    if covered.is_empty() {
        let text = place_text(&place);
        return Err(PlanFailure::NotFound(format!("{text} has no cell; see `meridian cluster list`")));
    }
    let moving = residents(store, &place).await?;
    if moving.len() > APPLICATIONS_MAX {
        let problem = format!(
            "{} Applications have replicas there; at most {APPLICATIONS_MAX} move in one drain: drain its cells one after the other",
            moving.len()
        );
        return Err(PlanFailure::invalid("/spec", problem));
    }
    Ok(Planned {
        subject: place_text(&place),
        plan: steps(&request, &place, &moving),
        locks: locks(&place, &covered),
        preview: preview(&covered, &moving),
    })
}

/// Locks the place for this operation alone, and what contains it beside others.
fn locks(place: &DirectiveTarget, covered: &[&CellFacts]) -> Vec<LockRequest> {
    let mut locks = Vec::new();
    let mut shared: BTreeSet<LockKey> = covered.iter().map(|cell| LockKey::Region(cell.region.clone())).collect();
    let zones = || covered.iter().flat_map(|cell| cell.zones.iter().map(|zone| (cell.region.clone(), zone.clone())));
    let zone_keys = || zones().map(|(region, zone)| LockKey::Zone { region, zone });
    let cells = || covered.iter().map(|cell| LockKey::Cell(cell.name.to_string()));
    let clusters = || covered.iter().map(|cell| LockKey::Cluster(cell.cluster.to_string()));
    let exclusive: BTreeSet<LockKey> = match place {
        DirectiveTarget::Region { region } => {
            shared.clear();
            std::iter::once(LockKey::Region(region.clone()))
                .chain(zone_keys())
                .chain(clusters())
                .chain(cells())
                .collect()
        }
        DirectiveTarget::Zone { region, zone } => {
            shared.extend(clusters());
            std::iter::once(LockKey::Zone { region: region.clone(), zone: zone.clone() }).chain(cells()).collect()
        }
        DirectiveTarget::Cluster { .. } => {
            shared.extend(zone_keys());
            clusters().chain(cells()).collect()
        }
        DirectiveTarget::Cell { .. } => {
            shared.extend(zone_keys());
            shared.extend(clusters());
            cells().collect()
        }
    };
    locks.extend(exclusive.into_iter().map(LockRequest::exclusive));
    locks.extend(shared.into_iter().map(LockRequest::shared));
    locks
}

fn steps(request: &DrainSpec, place: &DirectiveTarget, moving: &[Resident]) -> Plan {
    let text = place_text(place);
    let step = |id: &str, title: String, needs: &[&str], targets: Vec<String>| Step {
        id: id.to_owned(),
        act: id.to_owned(),
        title,
        class: EffectClass::Absolute,
        needs: needs.iter().map(|need| (*need).to_owned()).collect(),
        when: None,
        targets,
        max_parallel: 1,
        timeout_seconds: WRITE_TIMEOUT_SECONDS,
        retry: Retry { max: 5, backoff_seconds: 1 },
        on_failure: OnFailure::Pause,
        on_timeout: OnFailure::Pause,
        require: Require::All,
        confirm: false,
        pre: Vec::new(),
        post: Vec::new(),
        params: Value::Null,
    };
    let whole = || vec![text.clone()];
    let mut forward = vec![step("cordon", format!("keep new replicas out of {text}"), &[], whole())];
    if !moving.is_empty() {
        let targets = moving.iter().map(|resident| resident.key.to_string()).collect();
        let mut step = step("move", format!("move replicas out of {text}"), &["cordon"], targets);
        step.max_parallel = request.max_parallel();
        step.timeout_seconds = request.timeout_seconds();
        forward.push(step);
    }
    let moved: &[&str] = if moving.is_empty() { &["cordon"] } else { &["move"] };
    forward.push(step("hold", format!("keep all Applications out of {text}"), moved, whole()));
    let mut empty = step("empty", format!("wait until no divided replica is in {text}"), &["hold"], whole());
    (empty.class, empty.timeout_seconds) = (EffectClass::Pure, request.timeout_seconds());
    forward.push(empty);
    let revert = vec![step("release", format!("let {text} take replicas again"), &[], whole())];
    Plan { forward, revert, approvals: 0 }
}

fn preview(covered: &[&CellFacts], moving: &[Resident]) -> Value {
    let replicas: i64 = moving.iter().map(Resident::replicas).sum();
    let shown = moving.iter().take(PREVIEW_MAX);
    let applications: Vec<Value> =
        shown.map(|resident| json!({"application": resident.key.to_string(), "cells": resident.cells})).collect();
    json!({
        "cells": covered.iter().map(|cell| cell.name.as_str()).collect::<Vec<_>>(),
        "applications": moving.len(),
        "replicas": replicas,
        "moves": applications,
        "stays": "what runs once or has an identity of its own, such as a StatefulSet, stays until a person removes it",
    })
}
