//! An Application as the rows have it, with what a release asked of its cells.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crds::CellSpec;
use domain::placement::{DirectiveTarget, Effect};
use domain::release::{Asked, PairPlace, ReleaseCell, Wave, waves};
use flow::ActError;
use store::{
    AppId, ApplicationRow, CellDecisionRow, DirectiveRow, PlacementId, PlacementRow, Slot, StatusRow, Store, StoreError,
};
use vocabulary::{AppKey, CellName, ContentHash, OperationId};

use super::arrival::{Arrival, CellRows};
use crate::directives;

/// Maximum age of a cluster's judgement. Its status says nothing about the present after that.
const JUDGED_WITHIN: Duration = Duration::from_secs(30);

/// Rows about an Application.
#[derive(Debug)]
pub(super) struct AppRows {
    pub(super) row: ApplicationRow,
    pub(super) decisions: Vec<CellDecisionRow>,
    pub(super) objects: Vec<PlacementRow>,
    status: BTreeMap<PlacementId, StatusRow>,
    directives: Vec<DirectiveRow>,
    pairs: BTreeMap<CellName, Option<PairPlace>>,
    healthy: BTreeSet<String>,
}

/// A cell and how far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CellView {
    pub(super) cell: ReleaseCell,
    /// The operation has a directive for the cell about the revision.
    pub(super) has_directive: bool,
    /// The main slot is decided to run the revision, and no gray slot is.
    pub(super) is_decided: bool,
    pub(super) arrival: Arrival,
}

/// What a release of one revision sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct View {
    pub(super) cells: BTreeMap<CellName, CellView>,
    /// Hash of the rows about all cells that were asked. It changes with every change of them.
    pub(super) rows: ContentHash,
}

impl AppRows {
    /// Reads the rows. `None` when the Application does not exist, is another one of that name, or is being deleted.
    pub(super) async fn read(
        store: &Store,
        key: &AppKey,
        known: Option<AppId>,
        operation: Option<OperationId>,
    ) -> Result<Option<Self>, StoreError> {
        let row = store.application_get(key).await?;
        let Some(row) = row.filter(|row| row.removal.is_none() && known.is_none_or(|known| known == row.id)) else {
            return Ok(None);
        };
        let apps = [row.id];
        let decisions: Vec<CellDecisionRow> =
            store.cell_decision_list(&apps).await?.into_iter().map(|(_, decision)| decision).collect();
        let objects = store.placement_list(&apps).await?;
        let status = store.status_list(&apps).await?.into_iter().map(|status| (status.placement, status)).collect();
        let directives = match operation {
            Some(operation) => store.directive_list_of(&directives::owner(operation)).await?,
            None => Vec::new(),
        };
        let names: BTreeSet<String> = decisions.iter().map(|decision| decision.cell.clone()).collect();
        let names: Vec<String> = names.into_iter().collect();
        let specs = store.cell_specs(&names).await?;
        let place = |name: &String| {
            let spec: CellSpec = serde_json::from_value(specs.get(name)?.clone()).ok()?;
            Some(PairPlace { unit: spec.unit?, half: spec.pair? })
        };
        let pairs = names.iter().filter_map(|name| Some((name.parse().ok()?, place(name)))).collect();
        let clusters: BTreeSet<String> = objects.iter().map(|object| object.cluster.clone()).collect();
        let clusters: Vec<String> = clusters.into_iter().collect();
        let healthy = store.cluster_healthy_of(&clusters, JUDGED_WITHIN).await?;
        Ok(Some(Self { row, decisions, objects, status, directives, pairs, healthy }))
    }

    /// Returns what a release of the revision sees.
    pub(super) fn view(&self, revision: ContentHash) -> View {
        let asked = self.asked(revision);
        let waves = waves(&self.pairs);
        let mut cells = BTreeMap::new();
        let mut seen = String::new();
        for (name, rows) in self.cells() {
            let is_decided = rows.is_decided(revision);
            let directive = asked.get(&name).copied();
            // A cell that holds the revision by itself needs no directive.
            let asked = directive.unwrap_or(Asked { gray: 0, main: is_decided });
            if asked != Asked::default() {
                note(&mut seen, &rows);
            }
            let arrival = rows.arrival(asked, revision);
            let wave = waves.get(&name).copied().unwrap_or(Wave::First);
            let cell = ReleaseCell { target: rows.target(), asked, wave, is_there: arrival.is_there };
            cells.insert(name, CellView { cell, has_directive: directive.is_some(), is_decided, arrival });
        }
        View { cells, rows: ContentHash::of(seen.as_bytes()) }
    }

    /// Returns the rows of each cell with a decision about its main slot.
    fn cells(&self) -> BTreeMap<CellName, CellRows<'_>> {
        let mut cells: BTreeMap<CellName, CellRows<'_>> = BTreeMap::new();
        for main in self.decisions.iter().filter(|decision| decision.slot == Slot::Main) {
            let Ok(name) = main.cell.parse() else { continue };
            let is_gray = |decision: &&CellDecisionRow| decision.slot == Slot::Gray && decision.cell == main.cell;
            let objects: Vec<_> = self
                .objects
                .iter()
                .filter(|object| object.cell == main.cell)
                .map(|object| (object, self.status.get(&object.id)))
                .collect();
            let answers = objects.iter().all(|(object, _)| self.healthy.contains(&object.cluster));
            let gray = self.decisions.iter().find(is_gray);
            cells.insert(name, CellRows { main, gray, objects, answers });
        }
        cells
    }

    /// Returns what the operation's directives ask of cells about a revision.
    fn asked(&self, wanted: ContentHash) -> BTreeMap<CellName, Asked> {
        let mut asked = BTreeMap::new();
        for directive in &self.directives {
            let effect = serde_json::from_value(directive.effect.clone());
            let scope = serde_json::from_value(directive.scope.clone());
            let (Ok(Effect::Release { revision, gray, main }), Ok(DirectiveTarget::Cell { cell })) = (effect, scope)
            else {
                continue;
            };
            if let Ok(cell) = cell.parse::<CellName>()
                && revision == wanted
                && directive.app == Some(self.row.id)
            {
                asked.insert(cell, Asked { gray, main });
            }
        }
        asked
    }
}

/// Adds what identifies the state of a cell's rows.
fn note(seen: &mut String, rows: &CellRows<'_>) {
    use std::fmt::Write as _;
    for decision in std::iter::once(rows.main).chain(rows.gray) {
        // Writing to a String does not fail.
        let _ = writeln!(seen, "{} {:?} {} {}", decision.cell, decision.slot, decision.target, decision.revision);
    }
    for (object, status) in &rows.objects {
        let changed = status.map(|status| status.changed_at);
        let _ = writeln!(seen, "{:?} {} {changed:?}", object.id, object.plan_epoch);
    }
}

impl View {
    /// Returns the cells as `domain::release` takes them.
    pub(super) fn release_cells(&self) -> BTreeMap<CellName, ReleaseCell> {
        self.cells.iter().map(|(name, view)| (name.clone(), view.cell.clone())).collect()
    }
}

/// Reads the rows for an act, which is not possible without the Application.
pub(super) async fn read_or_refuse(
    store: &Store,
    key: &AppKey,
    app: AppId,
    operation: OperationId,
) -> Result<AppRows, ActError> {
    let rows = AppRows::read(store, key, Some(app), Some(operation)).await?;
    rows.ok_or_else(|| ActError::Refused(format!("Application {key} was deleted, or is being deleted")))
}
