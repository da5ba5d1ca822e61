//! Carries one step out in the member and writes down what became of it.

use crds::application::v1alpha1::{AdoptPolicy, DriftPolicy};
use domain::render::{self, RenderInput, Rendered};
use domain::topology::{CellFacts, Topology};
use jiff::Timestamp;
use members::{ApiKind, ApplyOptions, MemberError, Preconditions};
use runtime::crash::{Side, point};
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Instant;
use store::{ObjectState, PlacementId, StatusRow, Wish};
use vocabulary::{CellName, Fence, labels};

use crate::board::{Entry, object_id};
use crate::denied;
use crate::failure::{ActError, Outlook, after_failure};
use crate::live::Live;
use crate::revisions::AppFacts;
use crate::session::Session;
use crate::step::{Step, next_step};
use domain::stored_revision::StoredRevision;

/// Works on one placement. Returns whether it is to be tried again.
pub(crate) async fn work(session: &Session, id: PlacementId) -> bool {
    let (entry, live) = {
        let board = session.board();
        let Some(entry) = board.entries.get(&id).cloned() else { return false };
        if !board.is_synced(&object_id(&entry.row.object).0) {
            // Nothing is done before everything there was listed; the end of the list brings it back.
            return false;
        }
        if board.waits_for(id).is_some() {
            // Whatever it waits for brings it back.
            return false;
        }
        let live = board.live(&entry.row.object).cloned();
        (entry, live)
    };
    let outcome = attempt(session, &entry, live.as_ref()).await;
    let label = session.label();
    match outcome {
        Ok(Some(status)) => {
            session.record(&entry, status);
            session.push_siblings(id);
            false
        }
        Ok(None) => false,
        Err(ActError::Waits(message)) => {
            let waits = StatusRow { state: ObjectState::Failed, message: Some(message), ..entry.status.clone() };
            session.record(&entry, StatusRow { changed_at: Timestamp::now(), ..waits });
            false
        }
        Err(error) => {
            let reason = error.kind();
            session.delivery().metrics.failed.get_or_create(&session.failure(reason)).inc();
            tracing::warn!(
                cluster = label.cluster, object = %entry.row.object, reason,
                error = vocabulary::chain(&error), "delivery failed"
            );
            session.record(&entry, after_failure(&entry, &error));
            error.outlook() != Outlook::Stands
        }
    }
}

/// Does what is next for an object. What calls the member is boxed: most looks end without a call, and each would carry the
/// ten kilobytes that a call needs.
async fn attempt(session: &Session, entry: &Entry, live: Option<&Live>) -> Result<Option<StatusRow>, ActError> {
    let fleet = session.fleet();
    let cell = cell_of(&fleet.topology, entry)?;
    let fence = session.fence(entry);
    let app = session.revisions().app(entry.row.app).await?;
    let (rendered, adopt) = if entry.row.wish == Wish::Present {
        let revision = session.revisions().revision(entry.row.app, &app.key, &entry.row.revision).await?;
        (Some(render_entry(session, entry, &app, &revision, cell, fence)?), adopt_policy(entry, &app, &revision))
    } else {
        (None, AdoptPolicy::Never)
    };
    let enforce = app.intent.drift == DriftPolicy::Enforce;
    let keep = render::is_never_deleted(&entry.row.object);
    let hash = rendered.as_ref().map(|rendered| rendered.hash);
    match next_step(entry, live, fence, hash, enforce, keep) {
        Step::Nothing => Ok(None),
        Step::Gone => Ok(Some(StatusRow {
            state: ObjectState::Gone,
            message: None,
            changed_at: Timestamp::now(),
            ..entry.status.clone()
        })),
        Step::Apply { first } => {
            let Some(mut rendered) = rendered else { return Ok(None) };
            denied::refuse_write(&fleet.topology, entry)?;
            rendered.object["metadata"]["annotations"][labels::INSTALLATION] = session.installation().into();
            Box::pin(apply(session, entry, &app, adopt, &rendered, first)).await.map(Some)
        }
        Step::Delete { .. } | Step::Release { .. } if denied::left_alone(entry).is_some() => Ok(Some(StatusRow {
            state: ObjectState::Released,
            message: denied::left_alone(entry),
            changed_at: Timestamp::now(),
            ..entry.status.clone()
        })),
        Step::Delete { uid } => {
            let kind = session.kind(&entry.row.object)?;
            let object = &entry.row.object;
            let remove = session.member().remove(&kind, &object.namespace, &object.name, fence, &uid);
            let result = Box::pin(measured(session, "delete", remove)).await;
            Ok(Some(after_leaving(entry, result, ObjectState::Deleting)?))
        }
        Step::Release { uid, resource_version } => {
            let kind = session.kind(&entry.row.object)?;
            let only_if = Preconditions { uid: Some(uid), resource_version: Some(resource_version) };
            let object = &entry.row.object;
            let release = session.member().release(&kind, &object.namespace, &object.name, fence, &only_if);
            let result = Box::pin(measured(session, "release", async { release.await.map(|_| ()) })).await;
            Ok(Some(after_leaving(entry, result, ObjectState::Released)?))
        }
    }
}

/// What happens when the object is already there. A service account is a right: it is taken over only where its own component
/// asks for it, not because it looks the same.
fn adopt_policy(entry: &Entry, app: &AppFacts, revision: &StoredRevision) -> AdoptPolicy {
    let own = revision.blueprint.components.iter().find(|component| component.name == entry.row.component);
    let own = own.and_then(|component| component.adopt);
    match own {
        _ if !is_service_account(entry) => own.unwrap_or(app.intent.adopt),
        Some(AdoptPolicy::Always) => AdoptPolicy::Always,
        _ => AdoptPolicy::Never,
    }
}

fn is_service_account(entry: &Entry) -> bool {
    entry.row.object.kind == "ServiceAccount" && entry.row.object.group().is_empty()
}

fn cell_of<'a>(topology: &'a Topology, entry: &Entry) -> Result<&'a CellFacts, ActError> {
    let known = entry.row.cell.parse::<CellName>().ok().and_then(|name| topology.cells.get(&name));
    let fallback = || topology.cells.get(entry.row.cluster.as_str());
    known.or_else(fallback).ok_or_else(|| ActError::Waits(format!("cluster {} is not known yet", entry.row.cluster)))
}

fn render_entry(
    session: &Session,
    entry: &Entry,
    app: &AppFacts,
    revision: &StoredRevision,
    cell: &CellFacts,
    fence: Fence,
) -> Result<render::Rendered, ActError> {
    let component =
        revision.blueprint.components.iter().find(|component| component.name == entry.row.component).ok_or_else(
            || ActError::Refused(format!("component {} is not part of the revision", entry.row.component)),
        )?;
    let siblings = session.board().sibling_names(entry, &revision.blueprint);
    let replicas = if entry.row.divided || app.intent.suspended { Some(entry.row.rendered()) } else { None };
    render::render(&RenderInput {
        app: &app.key,
        component,
        siblings: &siblings,
        cell,
        object_name: &entry.row.object.name,
        replicas,
        overrides: &revision.overrides,
        fence,
    })
    .map_err(|error| ActError::Refused(error.to_string()))
}

async fn apply(
    session: &Session,
    entry: &Entry,
    app: &AppFacts,
    adopt: AdoptPolicy,
    rendered: &Rendered,
    first: bool,
) -> Result<StatusRow, ActError> {
    let (object, hash) = (&rendered.object, rendered.hash);
    let kind = session.kind(&entry.row.object)?;
    let key = &entry.row.object;
    let options = ApplyOptions { force: true, ..ApplyOptions::default() };
    let apply =
        |options| measured(session, "apply", session.member().apply(&kind, &key.namespace, &key.name, object, options));
    let stored = if first {
        session.ensure_namespace(&key.namespace, &app.intent.pod_security).await?;
        match apply(ApplyOptions { absent: true, ..options }).await {
            // Something is there, or it cannot be applied in this way: looked at, and applied as usual if it may be.
            Err(
                error @ (MemberError::Conflict { .. } | MemberError::NotFound { .. } | MemberError::Invalid { .. }),
            ) => {
                session.delivery().metrics.failed.get_or_create(&session.failure(error.kind())).inc();
                adopt_or_refuse(session, entry, app, adopt, object, &kind).await?;
                apply(options).await?
            }
            outcome => outcome?,
        }
    } else {
        apply(options).await?
    };
    let fields = render::our_fields(&stored);
    let status = StatusRow {
        state: ObjectState::Applied,
        message: None,
        applied_epoch: entry.row.plan_epoch,
        applied_hash: Some(hash.as_bytes().to_vec()),
        applied_revision: Some(entry.row.revision.clone()),
        fields_hash: fields.map(|fields| render::fields_hash(fields).as_bytes().to_vec()),
        drift: Vec::new(),
        changed_at: Timestamp::now(),
        ..entry.status.clone()
    };
    session.applied(entry, fields.cloned());
    session.saw(&key.api_version, &key.kind, &stored);
    Ok(status)
}

/// Before the first write of an object: whatever is there under its name must be ours, or ours to take.
async fn adopt_or_refuse(
    session: &Session,
    entry: &Entry,
    app: &AppFacts,
    adopt: AdoptPolicy,
    object: &Value,
    kind: &ApiKind,
) -> Result<(), ActError> {
    let key = &entry.row.object;
    let there = match session.member().get(kind, &key.namespace, &key.name).await {
        Ok(there) => there,
        Err(MemberError::NotFound { .. }) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let label = |name: &str| there["metadata"]["labels"].get(name).and_then(Value::as_str);
    let made_by = there["metadata"]["annotations"].get(labels::INSTALLATION).and_then(Value::as_str);
    let other = made_by.filter(|made_by| *made_by != session.installation());
    if other.is_none() && label(labels::MANAGED).is_some() && label(labels::APP) == Some(app.key.name.as_str()) {
        return Ok(());
    }
    let owner = match other {
        Some(other) => format!("{} of the Meridian installation {other}", owner_of(&there)),
        None => owner_of(&there),
    };
    match adopt {
        AdoptPolicy::Always => Ok(()),
        _ if is_service_account(entry) => Err(ActError::Refused(format!(
            "{key} is already there and belongs to {owner}; a service account is taken over only where its component says adopt: Always"
        ))),
        AdoptPolicy::Never => Err(ActError::Refused(format!(
            "{key} is already there and belongs to {owner}; rename the component, remove the object, or set spec.adopt to IfIdentical or Always"
        ))),
        AdoptPolicy::IfIdentical => {
            let mut bare = object.clone();
            for field in ["labels", "annotations"] {
                if let Some(map) = bare["metadata"].get_mut(field).and_then(Value::as_object_mut) {
                    map.retain(|name, _| !name.starts_with(labels::PREFIX));
                }
            }
            let differences = render::differs(&bare, &there);
            if differences.is_empty() {
                return Ok(());
            }
            Err(ActError::Refused(format!(
                "{key} is already there, belongs to {owner} and differs in {}; make them equal or set spec.adopt: Always",
                differences.join(", ")
            )))
        }
    }
}

fn owner_of(object: &Value) -> String {
    let metadata = &object["metadata"];
    let app = metadata["labels"].get(labels::APP).and_then(Value::as_str);
    if metadata["labels"].get(labels::MANAGED).is_some()
        && let Some(app) = app
    {
        return format!("Application {app}");
    }
    if let Some(owner) = metadata["ownerReferences"].get(0) {
        return format!("{} {}", owner["kind"].as_str().unwrap_or("?"), owner["name"].as_str().unwrap_or("?"));
    }
    let managers: BTreeSet<&str> = metadata["managedFields"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|entry| entry.get("subresource").is_none())
        .filter_map(|entry| entry["manager"].as_str())
        .collect();
    let names: Vec<&str> = managers.into_iter().collect();
    if names.is_empty() { "somebody unnamed".to_owned() } else { format!("field manager {}", names.join(", ")) }
}

fn after_leaving(entry: &Entry, result: Result<(), MemberError>, state: ObjectState) -> Result<StatusRow, ActError> {
    let state = match result {
        Ok(()) => state,
        Err(MemberError::NotFound { .. }) => ObjectState::Gone,
        Err(error) => return Err(error.into()),
    };
    let message = match state {
        ObjectState::Released => {
            Some(format!("{} stays in the member without belonging to Meridian", entry.row.object))
        }
        _ => None,
    };
    Ok(StatusRow { state, message, changed_at: Timestamp::now(), ..entry.status.clone() })
}

/// Writes to members, as `runtime::crash` names them.
pub const MEMBER_WRITES: [&str; 3] = ["apply", "delete", "release"];

async fn measured<T>(
    session: &Session,
    write: &'static str,
    call: impl Future<Output = Result<T, MemberError>>,
) -> Result<T, MemberError> {
    let (metrics, label) = (&session.delivery().metrics, session.label());
    metrics.planned.get_or_create(&label).inc();
    let begun = Instant::now();
    metrics.sent.get_or_create(&label).inc();
    point(write, Side::Before);
    let result = call.await;
    point(write, Side::After);
    metrics.seconds.get_or_create(&label).observe(begun.elapsed().as_secs_f64());
    if result.is_ok() {
        metrics.applied.get_or_create(&label).inc();
    }
    result
}
