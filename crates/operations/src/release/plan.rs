//! Plans a release: what the cells hold now, and the batches that follow from `spec.release`.

use std::collections::{BTreeMap, BTreeSet};

use domain::intent::Intent;
use domain::operation::{LockKey, LockRequest, Plan};
use domain::release::{ReleaseCell, Strategy, Wave};
use flow::{PlanFailure, Planned};
use serde_json::Value;
use store::{AppId, DesiredState, OperationRow, ReleaseKey, Slot, Store, StoreError};
use vocabulary::{AppKey, CellName, ContentHash};

use super::preview::preview;
use super::spec::{ReleaseSpec, subject_of};
use super::steps::{Outline, Shape, StepParams};
use super::view::AppRows;
use crate::fleet::topology;

/// Kind of component whose replicas a main and a gray workload share.
const GRAY_KIND: &str = "apps/v1/Deployment";

pub(super) async fn plan(store: &Store, spec: &Value) -> Result<Planned, PlanFailure> {
    let request = ReleaseSpec::parse(spec)?;
    let (key, revision) = (request.key()?, request.revision()?);
    let rows = AppRows::read(store, &key, None, None).await?.ok_or_else(|| {
        PlanFailure::NotFound(format!(
            "Application {key} does not exist or is being deleted; see `meridian app list -n {}`",
            key.namespace
        ))
    })?;
    check_revision(&rows, &key, revision)?;
    let Some(previous) = previous(&rows, revision) else {
        return Err(PlanFailure::Conflict(if rows.decisions.is_empty() {
            format!("{key} is in no cell yet; its first placement takes revision {revision} without a release")
        } else {
            format!("all cells of {key} hold revision {revision}; there is nothing to release")
        }));
    };
    let intent: Intent = serde_json::from_value(rows.row.intent.clone())
        .map_err(|error| StoreError::unreadable(format!("the intent of {key}: {error}")))?;
    let strategy = strategy(&intent, &key)?;
    let view = rows.view(revision);
    let cells: BTreeMap<CellName, ReleaseCell> =
        view.release_cells().into_iter().map(|(name, cell)| (name, ReleaseCell { is_there: true, ..cell })).collect();
    let shape = match (&intent.release, can_be_gray(store, &rows, revision, previous).await?) {
        (None, _) => Shape::CellByCell(cells.keys().cloned().collect()),
        (Some(_), true) => Shape::Gray,
        (Some(_), false) => Shape::Whole,
    };
    let total: i64 = cells.values().map(|cell| i64::from(cell.target)).sum();
    let outline = Outline {
        key: &key,
        app: rows.row.id.into(),
        revision,
        previous,
        strategy: &strategy,
        shape,
        has_pairs: cells.values().any(|cell| cell.wave == Wave::Second),
        total: i32::try_from(total).unwrap_or(i32::MAX),
        cells: cells.len(),
    };
    let plan = outline.plan();
    Ok(Planned {
        subject: subject_of(&key),
        locks: locks(store, &key, cells.keys()).await?,
        preview: preview(&outline, &plan, cells),
        plan,
    })
}

/// Returns what a release operation is about, as its plan has it. `None` when this version cannot read the plan.
pub(crate) fn release_identity(operation: &OperationRow) -> Option<ReleaseKey> {
    let plan: Plan = serde_json::from_value(operation.plan.clone()).ok()?;
    let params: StepParams = serde_json::from_value(plan.forward.first()?.params.clone()).ok()?;
    Some(ReleaseKey {
        app: params.app.into(),
        revision: params.revision,
        previous: params.previous,
        operation: operation.id,
    })
}

/// Returns the Application that a plan releases. `None` when this version cannot read the plan.
pub(super) fn application_of(plan: &Plan) -> Option<AppId> {
    plan.forward.first()?.params["app"].as_i64().map(AppId::from)
}

fn check_revision(rows: &AppRows, key: &AppKey, revision: ContentHash) -> Result<(), PlanFailure> {
    if rows.row.revision == revision {
        return Ok(());
    }
    Err(PlanFailure::Conflict(format!(
        "the spec of {key} has revision {}, and not {revision}; release that one, or change the Application first",
        rows.row.revision
    )))
}

fn strategy(intent: &Intent, key: &AppKey) -> Result<Strategy, PlanFailure> {
    let Some(release) = &intent.release else { return Ok(Strategy::default()) };
    Strategy::parse(release, intent.wanted()).map_err(|problems| {
        let problems: Vec<String> =
            problems.into_iter().map(|problem| format!("{}: {}", problem.field, problem.message)).collect();
        PlanFailure::Conflict(format!("{key} has a release strategy that is not possible: {}", problems.join("; ")))
    })
}

/// Returns the revision that most cells hold besides the new one. `None` when all cells hold the new one.
fn previous(rows: &AppRows, revision: ContentHash) -> Option<ContentHash> {
    let mut counts: BTreeMap<ContentHash, usize> = BTreeMap::new();
    let main = rows.decisions.iter().filter(|decision| decision.slot == Slot::Main);
    for decision in main.filter(|decision| decision.revision != revision) {
        *counts.entry(decision.revision).or_default() += 1;
    }
    counts.into_iter().max_by_key(|(_, count)| *count).map(|(revision, _)| revision)
}

/// Returns whether replicas can be divided between a main workload of one revision and a gray one of the other.
async fn can_be_gray(
    store: &Store,
    rows: &AppRows,
    revision: ContentHash,
    previous: ContentHash,
) -> Result<bool, PlanFailure> {
    let kinds = store.revision_divided_kinds(rows.row.id, &[revision, previous]).await?;
    let is_gray_kind = |of: ContentHash| kinds.get(&of).and_then(Option::as_deref) == Some(GRAY_KIND);
    // An older program stored the previous revision without the kind; its objects have it.
    let is_placed = rows.objects.iter().any(|object| {
        object.divided
            && object.desired_state == DesiredState::Present
            && object.revision == previous
            && format!("{}/{}", object.object.api_version, object.object.kind) == GRAY_KIND
    });
    Ok(is_gray_kind(revision) && (is_gray_kind(previous) || is_placed))
}

/// Locks the Application for this operation alone, and the places of its cells beside others.
async fn locks<'a>(
    store: &Store,
    key: &AppKey,
    cells: impl Iterator<Item = &'a CellName>,
) -> Result<Vec<LockRequest>, StoreError> {
    let (fleet, _) = topology(store).await?;
    let mut shared: BTreeSet<LockKey> = BTreeSet::new();
    for cell in cells.filter_map(|name| fleet.cells.get(name)) {
        shared.insert(LockKey::Region(cell.region.clone()));
        shared.extend(cell.zones.iter().map(|zone| LockKey::Zone { region: cell.region.clone(), zone: zone.clone() }));
        shared.insert(LockKey::Cluster(cell.cluster.to_string()));
        shared.insert(LockKey::Cell(cell.name.to_string()));
    }
    let mut locks = vec![LockRequest::exclusive(LockKey::App(key.clone()))];
    locks.extend(shared.into_iter().map(LockRequest::shared));
    Ok(locks)
}
