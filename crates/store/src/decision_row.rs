//! A decision as it is written.

use serde_json::Value;
use vocabulary::ContentHash;

use crate::{AppId, CellDecisionRow, PlacementChange, PlacementId, PlacementInsert, Removal, ReservationRow};

pub(crate) type Txn = crate::write::OpenTransaction;

/// State of an application that a decision was made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecisionBase {
    /// Generation of the intent.
    pub generation: i64,
    /// Treatment of the delivered objects; set while the Application is being deleted.
    pub removal: Option<Removal>,
    /// Version of the previous decision.
    pub version: i64,
}

/// A new decision, as it is stored.
#[derive(Debug, Clone)]
pub struct Decided {
    /// Hash of the inputs of the decision.
    pub input_hash: ContentHash,
    /// Record of the decision, for users and for the next decision.
    pub record: Value,
    /// Summary of the decision, in one sentence.
    pub summary: String,
    /// Replica targets by cell.
    pub targets: Value,
}

/// Changes that one decision writes for an application.
#[derive(Debug, Clone)]
pub struct DecisionRow {
    /// Application that the decision is about.
    pub app: AppId,
    /// State that the decision was made from.
    ///
    /// When that state changed meanwhile, nothing of the application is written.
    pub base: DecisionBase,
    /// The decision, where it is new.
    pub decided: Option<Decided>,
    /// All cells that run the application from now on; `None` leaves the stored cells unchanged.
    pub cells: Option<Vec<CellDecisionRow>>,
    /// Generation that this decision brings the placement up to; `None` leaves the stored one unchanged.
    pub generation: Option<i64>,
    /// Rebalance plan that this decision carried out.
    pub rebalance_done: Option<ContentHash>,
    /// Placement rows to add.
    pub inserts: Vec<PlacementInsert>,
    /// Placement rows to change.
    pub changes: Vec<PlacementChange>,
    /// Placement rows to delete because their objects are gone.
    ///
    /// Their object names are free for the rows to add.
    pub forget: Vec<PlacementId>,
    /// Deletes among the changes that count for the mass-delete guard: cluster and number of objects.
    pub deletes: Vec<(String, i32)>,
    /// Reservations of the application from now on; `None` leaves the stored ones unchanged.
    pub reservations: Option<Vec<ReservationRow>>,
}

impl DecisionRow {
    /// Returns a decision that changes nothing.
    pub fn unchanged(app: AppId, base: DecisionBase) -> Self {
        Self {
            app,
            base,
            decided: None,
            cells: None,
            generation: None,
            rebalance_done: None,
            inserts: Vec::new(),
            changes: Vec::new(),
            forget: Vec::new(),
            deletes: Vec::new(),
            reservations: None,
        }
    }
}

/// Outcome of a batch of decisions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Committed {
    /// Placements that were added, changed or deleted, with their clusters.
    pub touched: Vec<(String, PlacementId)>,
    /// Applications that changed meanwhile: nothing was written for them.
    pub outdated: Vec<AppId>,
    /// Clusters whose version of the reservation sums rose by one.
    pub booked: Vec<String>,
}
