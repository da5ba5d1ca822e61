//! Finds the operation that releases an edited Application, waits for it, or creates it.

use std::time::Duration;

use ::operations::{RELEASE, release_request};
use flow::{Request, create};
use store::{IdempotencyKey, OperationFilter, OperationRow, Store};
use tokio::time::Instant;
use vocabulary::{AppKey, ContentHash, OperationId};

use super::answer::Outcome;
use super::edit::{Edit, Edited, edit};
use super::is_release_of;
use super::next::{Known, Next, next};
use crate::api::Api;
use crate::caller::Caller;
use crate::code::Code;
use crate::failure::Failure;
use crate::wakes::{OperationWake, Wake};

/// Maximum time that a request waits for its operation. Intake and scheduler need a second or two.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum interval between two looks for the operation without a hint.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// Number of releases of an Application among which the one of a revision is looked for.
const ROWS: i64 = 50;

/// A checked request.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) app: AppKey,
    pub(super) change: Edit,
    pub(super) actor: String,
    pub(super) reason: String,
    pub(super) key: Option<IdempotencyKey>,
    pub(super) is_dry_run: bool,
}

/// Makes the edit of a request, and finds its operation.
pub(super) async fn carry_out(api: &Api, caller: &mut Caller, asked: &Asked) -> Result<Outcome, Failure> {
    let store = &api.general.store;
    if let Some(known) = replayed(store, asked).await? {
        return Ok(known);
    }
    let hub = api.hub.as_ref().ok_or_else(|| Failure::new(Code::NoHub, "releases edit the Application on the hub"))?;
    let before = releases(store, &asked.app, 1).await?.into_iter().next();
    let mut wake = api.wakes.subscribe();
    // The hub may be slow, and waiting needs no database.
    caller.end_turn();
    let edited = edit(hub, &asked.app, &asked.change, asked.is_dry_run).await?;
    caller.begin_turn().await?;
    if asked.is_dry_run {
        return Ok(Outcome::dry_run(&asked.app, &edited));
    }
    let found = match decide(store, asked, &edited, before.as_ref()).await? {
        Next::Found(operation) => Some(operation.id),
        Next::Create => Some(create_release(api, asked, &edited).await?),
        Next::Wait => {
            caller.end_turn();
            wait(api, asked, &edited, before.as_ref(), &mut wake).await?
        }
        Next::Running => return Ok(Outcome::running(&asked.app, &edited)),
        Next::CellByCell => return Ok(Outcome::cell_by_cell(&asked.app, &edited)),
        Next::Over(operation) => return Err(over(&asked.app, &edited.revision, &operation)),
    };
    let Some(id) = found else { return Ok(Outcome::expected(&asked.app, &edited)) };
    if let Some(key) = &asked.key {
        store.operation_key_insert(id, key).await?;
    }
    Ok(Outcome::found(&asked.app, &edited, id))
}

/// Returns the answer that the same request got before.
async fn replayed(store: &Store, asked: &Asked) -> Result<Option<Outcome>, Failure> {
    let Some(key) = &asked.key else { return Ok(None) };
    let Some(known) = store.operation_by_key(key).await? else { return Ok(None) };
    if known.body_hash != key.body_hash {
        let id = known.operation.id;
        let detail =
            format!("the idempotency key was used for another request, which led to operation {id}; use a new key");
        return Err(Failure::new(Code::IdempotencyKeyReused, detail));
    }
    let generation = store.application_get(&asked.app).await?.map_or(0, |row| row.generation);
    Ok(Some(Outcome::replay(&asked.app, &known.operation, generation)))
}

/// Reads the newest releases of an Application.
async fn releases(store: &Store, app: &AppKey, rows: i64) -> Result<Vec<OperationRow>, Failure> {
    let filter = OperationFilter {
        kind: Some(RELEASE.to_owned()),
        application: Some(app.to_string()),
        ..OperationFilter::default()
    };
    Ok(store.operation_page(&filter, rows).await?)
}

async fn decide(store: &Store, asked: &Asked, edited: &Edited, before: Option<&OperationRow>) -> Result<Next, Failure> {
    let all = releases(store, &asked.app, ROWS).await?;
    let newest = all.iter().find(|operation| is_release_of(operation, &asked.app, &edited.revision));
    let cells = match store.application_get(&asked.app).await? {
        Some(row) => store.cell_decision_list(&[row.id]).await?.into_iter().map(|(_, cell)| cell).collect(),
        None => Vec::new(),
    };
    Ok(next(&Known { edited, is_again: asked.change == Edit::Nothing, before, newest, cells: &cells }))
}

/// Waits until an operation releases the revision. `None` where there is none in time.
async fn wait(
    api: &Api,
    asked: &Asked,
    edited: &Edited,
    before: Option<&OperationRow>,
    wake: &mut OperationWake,
) -> Result<Option<OperationId>, Failure> {
    let _waiter = api.limits.waiter()?;
    let until = Instant::now() + OPERATION_TIMEOUT;
    while Instant::now() < until && !api.shutdown.is_cancelled() {
        let woken = tokio::select! {
            () = api.shutdown.cancelled() => return Ok(None),
            woken = wake.next(until.min(Instant::now() + LOOK_AGAIN)) => woken,
        };
        let _turn = api.limits.turn().await?;
        let store = &api.general.store;
        match woken {
            // One operation changed; it alone may be the one.
            Wake::Operation(id) => {
                let operation = store.operation_get(id).await?;
                let is_new = |known: &OperationRow| before.is_none_or(|before| known.created_at > before.created_at);
                let is_it = |known: &OperationRow| is_release_of(known, &asked.app, &edited.revision) && is_new(known);
                if operation.as_ref().is_some_and(is_it) {
                    return Ok(Some(id));
                }
            }
            Wake::Any => match decide(store, asked, edited, before).await? {
                Next::Found(operation) => return Ok(Some(operation.id)),
                // The first placement takes the revision without an operation.
                Next::Running => return Ok(None),
                Next::Wait | Next::CellByCell | Next::Create | Next::Over(_) => {}
            },
        }
    }
    Ok(None)
}

/// Creates a release of a revision whose last release is over.
async fn create_release(api: &Api, asked: &Asked, edited: &Edited) -> Result<OperationId, Failure> {
    let request = Request {
        id: OperationId::generate(),
        kind: RELEASE.to_owned(),
        spec: release_request(&asked.app, edited.revision),
        actor: asked.actor.clone(),
        reason: asked.reason.clone(),
        starts: true,
        key: asked.key.clone(),
    };
    Ok(create(&api.general.store, &api.hints, &api.kinds, request).await?.operation.id)
}

fn over(app: &AppKey, revision: &ContentHash, operation: &OperationRow) -> Failure {
    let id = operation.id;
    let detail = format!(
        "Application {app} has revision {} already, and its release ended as {} (operation {id}); a release without \
         images and patch tries it again, as `meridian release retry {} -n {}` does",
        revision.short(),
        operation.state,
        app.name,
        app.namespace
    );
    Failure::new(Code::Conflict, detail)
}
