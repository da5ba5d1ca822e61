//! Conditions: types and reasons as constants, and the rule for the transition time.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// Standing health of an object: what it asks for is so.
pub const READY: &str = "Ready";
/// The controller is still working towards the spec.
pub const RECONCILING: &str = "Reconciling";
/// No progress without a change by a person.
pub const STALLED: &str = "Stalled";
/// The last placement decision stands for the current spec.
pub const SCHEDULED: &str = "Scheduled";
/// Zone spread constraints hold.
pub const SPREAD_SATISFIED: &str = "ZoneSpreadSatisfied";
/// As many zones may be lost as the policy says, and enough available replicas are left.
pub const LOSS_SURVIVABLE: &str = "LossSurvivable";
/// A better placement exists, but reaching it would move running replicas.
pub const REBALANCE_NEEDED: &str = "RebalanceNeeded";
/// A member's object differs from what was delivered.
pub const DRIFTED: &str = "Drifted";
/// Deletes wait: for a person, or for a cluster that does not answer.
pub const DELETION_BLOCKED: &str = "DeletionBlocked";
/// Replicas would be run elsewhere, but too much is unhealthy at once to believe it.
pub const FAILOVER_FROZEN: &str = "FailoverFrozen";
/// What changes in the member is told to us.
pub const WATCH_FRESH: &str = "WatchFresh";
/// The member's nodes are ready.
pub const NODES_READY: &str = "NodesReady";
/// The member answers.
pub const REACHABLE: &str = "Reachable";
/// The member grants everything its profiles need.
pub const PERMISSIONS_SUFFICIENT: &str = "PermissionsSufficient";
/// A person keeps new replicas away.
pub const CORDONED: &str = "Cordoned";

/// Longest message kept. A member's message can be long, and one over 32 KiB would block every status update.
pub const MESSAGE_MAX: usize = 1024;

/// Three values, as the API writes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Holds.
    True,
    /// Does not hold.
    False,
    /// Not known.
    Unknown,
}

impl Status {
    /// The text form of the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for Status {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// A condition that has no transition time yet; [`merge`] gives it one.
pub fn condition(
    type_: &str,
    status: Status,
    reason: &str,
    message: impl Into<String>,
    generation: Option<i64>,
    now: Time,
) -> Condition {
    let message = vocabulary::shorten(&message.into(), MESSAGE_MAX);
    Condition {
        type_: type_.to_owned(),
        status: status.as_str().to_owned(),
        reason: reason.to_owned(),
        message,
        observed_generation: generation,
        last_transition_time: now,
    }
}

/// The conditions to write: `wanted`, each keeping the transition time of `before` where its status did not change.
pub fn merge(before: &[Condition], wanted: Vec<Condition>) -> Vec<Condition> {
    wanted
        .into_iter()
        .map(|mut new| {
            if let Some(old) = before.iter().find(|old| old.type_ == new.type_)
                && old.status == new.status
            {
                new.last_transition_time = old.last_transition_time.clone();
            }
            new
        })
        .collect()
}
