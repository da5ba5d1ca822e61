//! What is kept of a decision: for people, and for the stages after it.

use std::collections::{BTreeMap, BTreeSet};

use crds::application::v1alpha1::{CellDecision, Decision, ObjectStatus, PendingDeletes};
use serde::{Deserialize, Serialize};
use vocabulary::{ContentHash, hash_json};

use crate::placement::{Eligibility, InputDigest, Outcome, Spread};
use crate::render::ReplicaOwner;

/// Changes shown at most.
const CHANGES_SHOWN: usize = 16;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_zero(number: &i32) -> bool {
    *number == 0
}

/// The last change of the wanted revision that was decided about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Edit {
    /// The revision before; nothing for the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<ContentHash>,
    /// The revision wanted since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<ContentHash>,
}

impl Edit {
    /// The edit that leads to a wanted revision, given the last one.
    #[must_use]
    pub fn to(self, wanted: ContentHash) -> Self {
        if self.after == Some(wanted) { self } else { Self { before: self.after, after: Some(wanted) } }
    }
}

/// A decision as stored with its application.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DecisionRecord {
    /// New capacity could change it: something found no place, waits where it may not stay, or the previous placement
    /// was kept.
    pub short: bool,
    /// Why the previous placement was kept, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
    /// Whether spread constraints hold; nothing when none was asked for. Otherwise the text says which does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spread: Option<Result<(), String>>,
    /// Replicas to run in all, overprovision included.
    pub wanted: i32,
    /// Replicas that stay available while replicas move: those told when the move began, or fewer where fewer are wanted.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub promised: i32,
    /// Deletes that wait for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<PendingDeletes>,
    /// Why replicas of a silent cluster are not run elsewhere although they were to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frozen: Option<String>,
    /// Cells that a person's rebalance left: what goes there is no surprise.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub previewed: BTreeSet<String>,
    /// Objects that could not be given a row, each with the remedy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<ObjectStatus>,
    /// Components that have replicas, with who sets their number.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub replica_owners: BTreeMap<String, ReplicaOwner>,
    /// Revision that was wanted, and the one wanted before it.
    #[serde(default)]
    pub edit: Edit,
    /// What it was made from.
    #[serde(default)]
    pub inputs: InputDigest,
    /// As shown in status, without the time.
    pub decision: Decision,
}

impl DecisionRecord {
    /// Records an outcome. `rebalanced` is what a rebalance would make of it.
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
            frozen: None,
            previewed: BTreeSet::new(),
            problems: Vec::new(),
            replica_owners: BTreeMap::new(),
            edit: Edit::default(),
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
    /// Takes over from the record before what a decision about numbers does not change.
    pub fn carry_over(&mut self, before: &Self) {
        self.problems.clone_from(&before.problems);
        self.pending.clone_from(&before.pending);
        self.promised = before.promised;
        self.replica_owners.clone_from(&before.replica_owners);
        self.edit = before.edit;
    }

    /// Remembers what it was made from, and says what of that changed since the record before.
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

/// Hash by which a person confirms a rebalance: it names exactly the placement that will be made.
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
