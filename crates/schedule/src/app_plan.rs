//! Planned writes for one application. Pure.

use domain::decision_record::DecisionRecord;
use store::{AppId, CellDecisionRow, DecisionBase, PlacementChange, PlacementId, PlacementInsert, ReservationRow};
use vocabulary::{AppKey, ContentHash};

use crate::deletes::Deletes;
use crate::gather::AppSnapshot;

/// Planned writes for one application.
#[derive(Debug)]
pub(crate) struct AppPlan {
    pub(crate) app: AppId,
    pub(crate) key: AppKey,
    /// Generation, removal and decision version that the plan was made from.
    pub(crate) base: DecisionBase,
    /// New record and the hash of its inputs, when either changed.
    pub(crate) record: Option<(ContentHash, DecisionRecord)>,
    /// Decisions about all cells that hold the application, when any of them changed.
    pub(crate) cells: Option<Vec<CellDecisionRow>>,
    /// Generation that the placement now reflects, when it changed.
    pub(crate) generation: Option<i64>,
    pub(crate) rebalance_done: Option<ContentHash>,
    pub(crate) inserts: Vec<Insert>,
    pub(crate) changes: Vec<PlacementChange>,
    pub(crate) forget: Vec<PlacementId>,
    pub(crate) reservations: Option<Vec<ReservationRow>>,
    /// Deletes among the changes, for the mass-delete guard.
    pub(crate) deletes: Deletes,
    /// The wanted revision, when it is ready in all cells.
    pub(crate) ready: Option<ContentHash>,
    /// The application is being removed and no row of it is left.
    pub(crate) over: bool,
    /// Input hash and record of the last decision; later phases copy them to record problems.
    pub(crate) last_decision: (ContentHash, DecisionRecord),
}

/// An object to add, with the names it may take in order of preference.
#[derive(Debug, Clone)]
pub(crate) struct Insert {
    pub(crate) row: PlacementInsert,
    pub(crate) names: Vec<String>,
}

impl AppPlan {
    pub(crate) fn empty(facts: &AppSnapshot) -> Self {
        let row = &facts.row;
        Self {
            app: row.id,
            key: row.key.clone(),
            base: DecisionBase { generation: row.generation, removal: row.removal, version: row.decision_version },
            record: None,
            cells: None,
            generation: None,
            rebalance_done: None,
            inserts: Vec::new(),
            changes: Vec::new(),
            forget: Vec::new(),
            reservations: None,
            deletes: Deletes::of(facts),
            ready: None,
            over: false,
            last_decision: facts.last_decision.clone(),
        }
    }

    /// Returns whether the plan writes nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.record.is_none()
            && self.cells.is_none()
            && self.generation.is_none()
            && self.rebalance_done.is_none()
            && self.inserts.is_empty()
            && self.changes.is_empty()
            && self.forget.is_empty()
            && self.reservations.is_none()
    }
}
