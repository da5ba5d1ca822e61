//! Executes one action in the member and records the result.

use crds::application::v1alpha1::DriftPolicy;
use domain::render;
use domain::topology::CellFacts;
use jiff::Timestamp;
use members::{MemberError, Preconditions};
use store::{DesiredState, ObjectState, PlacementId, PlacementRow, StatusRow};
use vocabulary::{Fence, labels};

use crate::decide::action::{Action, next_action};
use crate::decide::denied;
use crate::decide::failure::{ActError, Outlook, after_failure, outrun};
use crate::decide::render_row::{RowRender, cell_of, render_row};
use crate::observe::entry::{Entry, belongs, is_missing, object_id};
use crate::observe::observed_object::ObservedObject;
use crate::revisions::DeliveredApp;
use crate::session::Session;
use crate::write::apply::Write;
use crate::write::measured::measured;
use domain::stored_revision::StoredRevision;

/// Works on one placement. Returns whether to retry.
pub(crate) async fn work(session: &Session, id: PlacementId) -> bool {
    let (entry, live, is_ready) = {
        let cluster_state = session.cluster_state();
        let Some(entry) = cluster_state.entries.get(&id).cloned() else { return false };
        let live = cluster_state.live(&entry.row.object).filter(|live| belongs(&entry, live)).cloned();
        // Nothing is written before the kind is completely listed. The end of the list queues the row again.
        let is_ready = cluster_state.is_synced(&object_id(&entry.row.object).0);
        // The row that this one waits for queues it again.
        if cluster_state.waits_for(id).is_some() {
            return false;
        }
        (entry, live, is_ready)
    };
    let outcome = if is_ready {
        attempt(session, entry.clone(), live).await
    } else {
        // A kind that is not served or not granted is never listed, so this error is reported now.
        session.kind(&entry.row.object).map(|_| None)
    };
    match outcome {
        Ok(Some(status)) => {
            session.record(&entry, status);
            session.push_siblings(id);
            false
        }
        Ok(None) => false,
        Err(error) => failed(session, &entry, &error),
    }
}

/// Records why an attempt failed. Returns whether to retry.
fn failed(session: &Session, entry: &Entry, error: &ActError) -> bool {
    let (cluster, object, reason) = (session.name(), &entry.row.object, error.kind());
    let status = match error {
        ActError::Waits(message) => StatusRow {
            state: ObjectState::Failed,
            message: Some(message.clone()),
            changed_at: Timestamp::now(),
            ..entry.status.clone()
        },
        error => after_failure(entry, error),
    };
    if !matches!(error, ActError::Waits(_)) {
        session.delivery().metrics.failed.get_or_create(&session.failure(reason)).inc();
        // A retry with the same result is logged as a warning only once.
        if status.same_facts(&entry.status) {
            tracing::debug!(cluster, %object, reason, "delivery failed as before");
        } else {
            tracing::warn!(cluster, %object, reason, error = vocabulary::chain(error), "delivery failed");
        }
    }
    session.record(entry, status);
    !matches!(error, ActError::Waits(_) | ActError::Outrun(_)) && error.outlook() != Outlook::Stands
}

/// Executes the next action for an object.
///
/// Calls to the member are boxed. Most attempts end without a call, and each would otherwise carry the ten kilobytes a
/// call needs.
async fn attempt(session: &Session, entry: Entry, live: Option<ObservedObject>) -> Result<Option<StatusRow>, ActError> {
    let (entry, live) =
        if is_missing(&entry, live.as_ref()) { Box::pin(look(session, entry)).await? } else { (entry, live) };
    let (entry, live) = (&entry, live.as_ref());
    let fence = session.fence(entry);
    let app = session.revisions().app(entry.row.app).await?;
    let (rendered, adopt) = if entry.row.desired_state == DesiredState::Present {
        let revision = session.revisions().revision(entry.row.app, &app.key, entry.row.revision).await?;
        let fleet = session.fleet();
        let cell = cell_of(&fleet.topology, &entry.row).ok_or_else(|| unknown_cell(&entry.row))?;
        let own = revision.blueprint.components.iter().find(|component| component.name == entry.row.component);
        (Some(render_entry(session, entry, live, &app, &revision, cell, fence)?), own.and_then(|own| own.adopt))
    } else {
        (None, None)
    };
    let enforce = app.intent.drift == DriftPolicy::Enforce;
    let keep = render::is_never_deleted(&entry.row.object);
    let hash = rendered.as_ref().map(|rendered| rendered.hash);
    let action = next_action(entry, live, fence, hash, enforce, keep);
    if !matches!(action, Action::Nothing | Action::Gone)
        && let Some(error) = outrun(live.and_then(|live| live.fence), fence, entry.was_applied())
    {
        return Err(error);
    }
    match action {
        Action::Nothing => Ok(None),
        Action::Gone => Ok(Some(StatusRow {
            state: ObjectState::Gone,
            message: None,
            changed_at: Timestamp::now(),
            ..entry.status.clone()
        })),
        Action::Apply { first } => {
            let Some(mut rendered) = rendered else { return Ok(None) };
            denied::refuse_write(&session.fleet().topology, entry)?;
            rendered.object["metadata"]["annotations"][labels::INSTALLATION] = session.installation().into();
            let write = Write { session, entry, app: &app, own_adopt: adopt, object: &rendered.object, fence };
            Box::pin(write.apply(rendered.hash, first)).await.map(Some)
        }
        Action::Delete { .. } | Action::Release { .. } if denied::left_alone(entry).is_some() => Ok(Some(StatusRow {
            state: ObjectState::Released,
            message: denied::left_alone(entry),
            changed_at: Timestamp::now(),
            ..entry.status.clone()
        })),
        Action::Delete { uid } => {
            let kind = session.kind(&entry.row.object)?;
            let object = &entry.row.object;
            let remove = session.member().remove(&kind, &object.namespace, &object.name, fence, &uid);
            let result = Box::pin(measured(session, "delete", remove)).await;
            Ok(Some(after_leaving(entry, result, ObjectState::Deleting)?))
        }
        Action::Release { uid, resource_version } => {
            let kind = session.kind(&entry.row.object)?;
            let only_if = Preconditions { uid: Some(uid), resource_version: Some(resource_version) };
            let object = &entry.row.object;
            let owner = session.former_owner(&app.key.name);
            let release = session.member().release(&kind, &object.namespace, &object.name, fence, &only_if, &owner);
            let result = Box::pin(measured(session, "release", async { release.await.map(|_| ()) })).await;
            Ok(Some(after_leaving(entry, result, ObjectState::Released)?))
        }
    }
}

/// Reads an object that left its watch: it may be deleted or may only have lost the watched label.
async fn look(session: &Session, entry: Entry) -> Result<(Entry, Option<ObservedObject>), ActError> {
    let key = &entry.row.object;
    let kind = session.kind(key)?;
    let there = match session.member().get(&kind, &key.namespace, &key.name).await {
        Ok(there) => ObservedObject::read(&key.api_version, &key.kind, &there),
        Err(MemberError::NotFound { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    match there.filter(|live| entry.status.object_uid.as_ref() == Some(&live.uid)) {
        Some(live) => Ok((entry, Some(live))),
        None => Ok((session.vanished(&entry), None)),
    }
}

/// Error of a row whose cell this process has not read.
fn unknown_cell(row: &PlacementRow) -> ActError {
    ActError::Waits(format!(
        "cell {} of cluster {} is not known to this operator, because it was not taken in yet or is of a later version; what runs there stays as it is",
        row.cell, row.cluster
    ))
}

fn render_entry(
    session: &Session,
    entry: &Entry,
    live: Option<&ObservedObject>,
    app: &DeliveredApp,
    revision: &StoredRevision,
    cell: &CellFacts,
    fence: Fence,
) -> Result<render::Rendered, ActError> {
    let siblings = session.cluster_state().sibling_names(entry, &revision.blueprint);
    let input = RowRender {
        app: &app.key,
        row: &entry.row,
        suspended: app.intent.suspended,
        by_release: app.intent.release.is_some(),
        cell,
        siblings: &siblings,
        own_replicas: live.and_then(|live| live.own_replicas),
    };
    render_row(&input, revision, fence).map_err(ActError::Refused)
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
