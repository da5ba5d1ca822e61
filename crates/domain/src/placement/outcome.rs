//! A placement decision and its explanation.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use vocabulary::{CellName, ClusterName};

use super::eligibility::Eligibility;

/// A placement decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Replicas of every cell that holds any, now or before.
    pub targets: BTreeMap<CellName, i32>,
    /// Total number of replicas to run, overprovision included.
    pub wanted: i32,
    /// Replicas that found no place.
    pub shortfall: i32,
    /// Replicas that may not stay in their cell and found no other place.
    pub waiting: i32,
    /// Reason for keeping the previous placement, with the field and the remedy.
    pub hold: Option<String>,
    /// State of the spread constraints.
    pub spread: Spread,
    /// Number of running replicas that a rebalance would move.
    pub rebalance_needed: i32,
    /// Remarks about the whole placement, for people.
    pub notes: Vec<String>,
    /// Explanation of every known cell.
    pub cells: Vec<CellExplanation>,
    /// Summary in one sentence, for people.
    pub summary: String,
}

/// Whether the spread constraints hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Spread {
    /// The policy has no spread constraint.
    NotAsked,
    /// All constraints hold.
    Satisfied,
    /// The named constraint does not hold. The text includes how far it is exceeded.
    Violated(String),
}

/// Explains the number of replicas of one cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CellExplanation {
    /// Name of the cell.
    pub cell: CellName,
    /// Cluster that hosts the cell.
    pub cluster: ClusterName,
    /// Region of the cluster.
    pub region: String,
    /// Zone of the cell. Several zones are joined by `+`.
    pub zone: String,
    /// Replicas of the previous placement.
    pub before: i32,
    /// Replicas of this decision.
    pub target: i32,
    /// Whether the cell may take replicas, or the rule that rejects the cell.
    pub eligibility: Eligibility,
    /// Maximum number of replicas of this Application that fit, including those already in the cell.
    pub capacity: i32,
    /// Limit that keeps an eligible cell from taking more replicas.
    pub bound_by: Option<String>,
    /// Remarks about the cell, for people.
    pub notes: Vec<String>,
}
