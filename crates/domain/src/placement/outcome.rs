//! A decision and its explanation.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use vocabulary::{CellName, ClusterName};

use super::eligibility::Eligibility;

/// A decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Replicas of every cell that holds any, now or before.
    pub targets: BTreeMap<CellName, i32>,
    /// Replicas to run in all, overprovision included.
    pub wanted: i32,
    /// Replicas that found no place.
    pub shortfall: i32,
    /// Replicas that may not stay where they are and find no other place.
    pub waiting: i32,
    /// Why the previous placement was kept; names the field and the remedy.
    pub hold: Option<String>,
    /// Whether spread constraints hold.
    pub spread: Spread,
    /// Running replicas that a rebalance would move.
    pub rebalance_needed: i32,
    /// Remarks.
    pub notes: Vec<String>,
    /// Every cell.
    pub cells: Vec<CellExplanation>,
    /// One sentence.
    pub summary: String,
}

/// Whether spread constraints hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Spread {
    /// None was asked for.
    NotAsked,
    /// All hold.
    Satisfied,
    /// Which does not, and how far.
    Violated(String),
}

/// Why a cell has its number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CellExplanation {
    /// Cell.
    pub cell: CellName,
    /// Its cluster.
    pub cluster: ClusterName,
    /// Its region.
    pub region: String,
    /// Its zone.
    pub zone: String,
    /// Replicas before.
    pub before: i32,
    /// Replicas decided.
    pub target: i32,
    /// Whether it may take replicas.
    pub eligibility: Eligibility,
    /// Most replicas of this application that fit there, those it has included.
    pub capacity: i32,
    /// The limit that keeps it from taking more.
    pub bound_by: Option<String>,
    /// Remarks.
    pub notes: Vec<String>,
}
