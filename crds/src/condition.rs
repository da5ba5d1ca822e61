//! Types of conditions as constants, and the rule for the transition time.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// The object is as its spec requests.
pub const READY: &str = "Ready";
/// The operator is still working towards the spec.
pub const RECONCILING: &str = "Reconciling";
/// A user must act before the object can make progress.
pub const STALLED: &str = "Stalled";
/// The last placement decision is for the current spec and leaves no replica without a place.
pub const SCHEDULED: &str = "Scheduled";
/// The spread constraints of the policy hold, for all topologies.
pub const SPREAD_SATISFIED: &str = "ZoneSpreadSatisfied";
/// Enough available replicas remain after the loss of as many zones as the policy names.
pub const LOSS_SURVIVABLE: &str = "LossSurvivable";
/// A better placement exists, but running replicas would have to move.
pub const REBALANCE_NEEDED: &str = "RebalanceNeeded";
/// An object in a member differs from the delivered object.
pub const DRIFTED: &str = "Drifted";
/// Deletes wait for a user, or past their deadline for a silent cluster or for remaining objects.
pub const DELETION_BLOCKED: &str = "DeletionBlocked";
/// Failover is due, but too many clusters are or were unhealthy at once to trust their silence.
pub const FAILOVER_FROZEN: &str = "FailoverFrozen";
/// The watches on the member deliver its changes.
pub const WATCH_FRESH: &str = "WatchFresh";
/// The nodes of the member are ready.
pub const NODES_READY: &str = "NodesReady";
/// The API server of the member answers.
pub const REACHABLE: &str = "Reachable";
/// The member permits delivery of at least one kind, and its installation is up to date.
pub const PERMISSIONS_SUFFICIENT: &str = "PermissionsSufficient";
/// A user keeps new replicas away from the cluster.
pub const CORDONED: &str = "Cordoned";

/// Maximum length of a message in bytes.
///
/// A member's message can be long. A message over 32 KiB would block every status update.
pub const MESSAGE_MAX: usize = 1024;

/// Status of a condition, with the three values of the Kubernetes API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// The condition holds.
    True,
    /// The condition does not hold.
    False,
    /// The operator cannot determine whether the condition holds.
    Unknown,
}

impl Status {
    /// Returns the text form that the Kubernetes API uses.
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

/// Returns a condition whose transition time is `now`, with its message shortened to [`MESSAGE_MAX`].
///
/// [`merge`] restores the earlier transition time where the status did not change.
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

/// Returns the conditions to write: `wanted`, with transition times from `before`.
///
/// A condition keeps the transition time of `before` when its status did not change.
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
