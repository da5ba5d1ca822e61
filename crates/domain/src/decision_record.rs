//! The stored record of a decision, for people and for later stages.

use std::collections::{BTreeMap, BTreeSet};

use crds::application::v1alpha1::{CellDecision, Decision, ObjectStatus, PendingDeletes};
use serde::{Deserialize, Serialize};
use vocabulary::{ContentHash, hash_json};

use crate::placement::{Eligibility, InputDigest, Outcome, Spread};
use crate::render::ReplicaOwner;

/// Maximum number of input changes shown with a decision.
const CHANGES_SHOWN: usize = 16;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_zero(number: &i32) -> bool {
    *number == 0
}

/// The last change of the wanted revision that was decided about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Edit {
    /// Revision before the change. `None` for the first revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<ContentHash>,
    /// Revision wanted since the change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<ContentHash>,
}

impl Edit {
    /// Returns the edit that leads to the wanted revision, given the last edit.
    #[must_use]
    pub fn to(self, wanted: ContentHash) -> Self {
        if self.after == Some(wanted) { self } else { Self { before: self.after, after: Some(wanted) } }
    }
}

/// Reason why deletes wait for a person. Deletes that wait only for the window of the guard to move have none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum WaitCause {
    /// An edit deletes more of the Application than its limit permits.
    Edit,
    /// The Application itself is being removed, with more objects than a limit permits.
    Removal,
}

/// A decision as stored with its Application.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DecisionRecord {
    /// Whether new capacity could change the decision.
    ///
    /// This is so when replicas found no place, wait in a cell where they may not stay, or the previous placement was
    /// kept.
    pub short: bool,
    /// Reason for keeping the previous placement. `None` when it was not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
    /// Whether the spread constraints hold. `None` when the policy has none.
    ///
    /// The error names the violated constraint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spread: Option<Result<(), String>>,
    /// Total number of replicas to run, overprovision included.
    pub wanted: i32,
    /// Minimum number of replicas that stay available while replicas move.
    ///
    /// This is the number decided when the move began, or the wanted number where that is smaller.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub promised: i32,
    /// Deletions that wait for a person's confirmation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<PendingDeletes>,
    /// Reason why `pending` waits for a person; `None` if the deletes proceed when the window of the guard has moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_by: Option<WaitCause>,
    /// Reason why replicas of a silent cluster do not run elsewhere although failover is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frozen: Option<String>,
    /// The directive that keeps replicas in cells which they are to leave. `None` where no floor is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor_hold: Option<String>,
    /// Cells emptied by a rebalance that a person confirmed.
    ///
    /// The mass-delete guard does not count deletions in these cells.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub previewed: BTreeSet<String>,
    /// Objects that could not be given a row, each with the remedy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<ObjectStatus>,
    /// Components that have replicas, with the owner of their number.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub replica_owners: BTreeMap<String, ReplicaOwner>,
    /// The last change of the wanted revision.
    #[serde(default)]
    pub edit: Edit,
    /// Components that edits under way removed, each with a component that took its place.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub replacements: BTreeSet<(String, String)>,
    /// Digest of the inputs of the decision.
    #[serde(default)]
    pub inputs: InputDigest,
    /// The decision as shown in status, without the time.
    pub decision: Decision,
}

impl DecisionRecord {
    /// Records an outcome. `rebalanced` is the placement that a rebalance would make of the outcome.
    pub fn of(outcome: &Outcome, input_hash: ContentHash, rebalanced: Option<&Outcome>) -> Self {
        let mut summary = outcome.summary.clone();
        for note in &outcome.notes {
            summary.push_str("; ");
            summary.push_str(note);
        }
        Self {
            short: outcome.shortfall > 0 || outcome.waiting > 0 || outcome.hold.is_some(),
            hold: outcome.hold.clone(),
            spread: match &outcome.spread {
                Spread::NotAsked => None,
                Spread::Satisfied => Some(Ok(())),
                Spread::Violated(why) => Some(Err(why.clone())),
            },
            wanted: outcome.wanted,
            promised: 0,
            pending: None,
            waits_by: None,
            frozen: None,
            floor_hold: None,
            previewed: BTreeSet::new(),
            problems: Vec::new(),
            replica_owners: BTreeMap::new(),
            edit: Edit::default(),
            replacements: BTreeSet::new(),
            inputs: InputDigest::default(),
            decision: Decision {
                at: None,
                changed: Vec::new(),
                input_hash: input_hash.to_string(),
                summary,
                shortfall: outcome.shortfall,
                rebalance: outcome.rebalance_needed,
                rebalance_plan: rebalanced.map(|plan| rebalance_plan(plan).to_string()),
                cells: outcome
                    .cells
                    .iter()
                    .map(|cell| CellDecision {
                        cell: cell.cell.to_string(),
                        before: cell.before,
                        target: cell.target,
                        verdict: match &cell.eligibility {
                            Eligibility::Eligible => "Eligible".to_owned(),
                            Eligibility::Rejected(rejection) => rejection.rule.as_str().to_owned(),
                        },
                        note: note(cell.bound_by.as_deref(), &cell.eligibility, &cell.notes),
                    })
                    .collect(),
            },
        }
    }
}

impl DecisionRecord {
    /// Copies from the record before the fields that a decision about numbers does not change.
    pub fn carry_over(&mut self, before: &Self) {
        self.problems.clone_from(&before.problems);
        self.pending.clone_from(&before.pending);
        self.waits_by = before.waits_by;
        self.promised = before.promised;
        self.floor_hold.clone_from(&before.floor_hold);
        self.replica_owners.clone_from(&before.replica_owners);
        self.edit = before.edit;
        self.replacements.clone_from(&before.replacements);
    }

    /// Stores the digest of the inputs and lists their changes since the record before.
    ///
    /// When nothing changed, the list of the record before is kept.
    #[must_use]
    pub fn made_from(mut self, inputs: InputDigest, before: &Self) -> Self {
        let mut changed = inputs.changes_since(&before.inputs);
        if changed.is_empty() {
            changed.clone_from(&before.decision.changed);
        }
        changed.truncate(CHANGES_SHOWN);
        self.decision.changed = changed;
        self.inputs = inputs;
        self
    }
}

/// Returns the hash by which a person confirms a rebalance.
///
/// The hash names exactly the resulting placement.
pub fn rebalance_plan(outcome: &Outcome) -> ContentHash {
    hash_json(&outcome.targets).expect("a map of names to numbers is JSON")
}

fn note(bound_by: Option<&str>, eligibility: &Eligibility, notes: &[String]) -> Option<String> {
    let rejected = match eligibility {
        Eligibility::Eligible => None,
        Eligibility::Rejected(rejection) => Some(rejection.message.clone()),
    };
    let bound = bound_by.map(|limit| format!("bound by {limit}"));
    let all: Vec<String> = rejected.into_iter().chain(bound).chain(notes.iter().cloned()).collect();
    (!all.is_empty()).then(|| all.join("; "))
}
