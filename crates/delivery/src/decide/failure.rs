//! Errors of an attempt, and whether to retry. Pure.

use jiff::Timestamp;
use members::MemberError;
use store::{ObjectState, StatusRow};
use vocabulary::Fence;

use crate::observe::entry::Entry;
use crate::revisions::RevisionError;
use crate::status::bounded::bounded_message;

/// Maximum plan epoch of a fence found in the member that the scheduler raises a row above.
///
/// Any user of the member can write an annotation on an object that is not ours yet. Plan epochs increase by one per
/// change and must never run out.
const FOUND_PLAN_MAX: u32 = 1 << 30;

/// Error of an attempt. Its [`Outlook`] decides about a retry.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ActError {
    #[error(transparent)]
    Member(#[from] MemberError),
    #[error(transparent)]
    Revision(#[from] RevisionError),
    /// A retry helps only after the row or the object changed.
    #[error("{0}")]
    Refused(String),
    /// The name belongs to another owner's object, or the existing object cannot become ours.
    ///
    /// A person decides, in the member or on the hub.
    #[error("{0}")]
    Taken(String),
    /// The fence in the member is above ours. The scheduler raises the row above it.
    #[error("the object in the member carries a newer fence, with plan epoch {0}; the plan is raised above it")]
    Outrun(u32),
    /// The object waits for something else.
    #[error("{0}")]
    Waits(String),
}

impl ActError {
    /// Stable name of the error for metrics.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Member(error) => error.kind(),
            Self::Revision(_) => "revision",
            Self::Refused(_) => "refused",
            Self::Taken(_) => "taken",
            Self::Outrun(_) => "outrun",
            Self::Waits(_) => "waits",
        }
    }

    /// Returns whether the attempt may succeed later.
    pub(crate) fn outlook(&self) -> Outlook {
        match self {
            Self::Refused(_) | Self::Member(MemberError::TooLarge { .. }) => Outlook::Stands,
            // A permission may be granted at any time, and an API server that has just started lacks its own rules. An
            // invalid object may become valid when a port is free or the schema of its kind changed.
            Self::Taken(_) | Self::Member(MemberError::Forbidden { .. } | MemberError::Invalid { .. }) => {
                Outlook::WaitsForAPerson
            }
            _ => Outlook::Passes,
        }
    }
}

/// Whether and when a retry can succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outlook {
    /// A retry cannot succeed before the row or the object changes.
    Stands,
    /// A person must act in the member, which sends no notification. Retries follow with growing pauses.
    WaitsForAPerson,
    /// The error is temporary.
    Passes,
}

/// Status of an entry after a failed attempt.
pub(crate) fn after_failure(entry: &Entry, error: &ActError) -> StatusRow {
    let outlook = error.outlook();
    let applied_epoch = entry.status.applied_epoch;
    StatusRow {
        state: if outlook == Outlook::Passes { ObjectState::Failed } else { ObjectState::Refused },
        message: Some(bounded_message(vocabulary::chain(error))),
        applied_epoch: match outlook {
            // Recorded for this plan: only a new plan or another object allows another attempt.
            Outlook::Stands => entry.row.plan_epoch,
            // Keeps `next_action` from treating the refusal as final, also where this plan was applied before.
            Outlook::WaitsForAPerson => applied_epoch.min(entry.row.plan_epoch.saturating_sub(1)),
            Outlook::Passes => applied_epoch,
        },
        found_epoch: if let ActError::Outrun(found) = error { *found } else { entry.status.found_epoch },
        changed_at: Timestamp::now(),
        ..entry.status.clone()
    }
}

/// Returns an error if the member would refuse a write with our fence because of the fence `found`.
///
/// `was_applied` is whether the row was applied before. A new row may adopt the object of a former row, and its plan is
/// raised above that one.
///
/// A fence above that of an applied row means that the database is older than the member, or that a user forged the
/// fence. Raising the row would then revert the member to the older state of the database.
pub(crate) fn outrun(found: Option<Fence>, ours: Fence, was_applied: bool) -> Option<ActError> {
    let found = found.filter(|found| *found > ours)?;
    let is_same_authority = (found.generation, found.authority) == (ours.generation, ours.authority);
    if is_same_authority && !was_applied && found.plan <= FOUND_PLAN_MAX {
        return Some(ActError::Outrun(found.plan));
    }
    if is_same_authority && found.plan <= FOUND_PLAN_MAX {
        return Some(ActError::Taken(format!(
            "the object in the member carries the fence {found}, written after what this database knows ({ours}): the database was restored from an older state; to bring members to what it says, run `meridian-operator accept-database` and restart the operators, or delete the object in the member"
        )));
    }
    Some(ActError::Taken(format!(
        "the object in the member carries the fence {found}, of a newer generation of the database or a newer authority than ours, {ours}; if this database is the one in force, delete the object in the member"
    )))
}

#[cfg(test)]
mod tests {
    use store::{DesiredState, PlacementRow};
    use vocabulary::{ContentHash, ObjectKey};

    use super::*;
    use crate::decide::action::{Action, next_action};

    fn entry(plan_epoch: u32, applied_epoch: u32) -> Entry {
        let row = PlacementRow {
            id: 7.into(),
            app: 1.into(),
            component: "web".to_owned(),
            cell: "east".to_owned(),
            slot: store::Slot::Main,
            cluster: "east".to_owned(),
            object: ObjectKey {
                api_version: "v1".to_owned(),
                kind: "Service".to_owned(),
                namespace: "shop".to_owned(),
                name: "web".to_owned(),
            },
            rank: 0,
            divided: false,
            target: 0,
            floor: 0,
            surge: 0,
            plan_epoch,
            revision: ContentHash::of(b"web"),
            inputs: None,
            desired_state: DesiredState::Present,
        };
        let status = StatusRow { applied_epoch, ..StatusRow::unknown(7.into(), Timestamp::UNIX_EPOCH) };
        Entry { row, status, applied_fields: None, pod: None, app_name: None }
    }

    fn next(entry: &Entry) -> Action {
        let fence = Fence { generation: 1, authority: 1, plan: entry.row.plan_epoch };
        next_action(entry, None, fence, None, false, false)
    }

    #[test]
    fn invalid_object_is_retried_and_reported_once() {
        let message = "spec.ports[0].nodePort: provided port is already allocated".to_owned();
        let error = ActError::Member(MemberError::Invalid { message: message.clone(), fields: Vec::new() });
        assert_eq!(error.outlook(), Outlook::WaitsForAPerson);
        for applied_epoch in [0, 2, 3] {
            let mut entry = entry(3, applied_epoch);
            entry.status = after_failure(&entry, &error);
            assert_eq!((entry.status.state, entry.status.message.as_ref()), (ObjectState::Refused, Some(&message)));
            assert_eq!(next(&entry), Action::Apply { first: true });
            assert!(after_failure(&entry, &error).same_facts(&entry.status), "nothing is written again");
        }
    }

    #[test]
    fn adoption_refusal_is_tried_again_so_that_its_remedy_works() {
        let mut entry = entry(3, 2);
        let error = ActError::Taken("it belongs to somebody else".to_owned());
        entry.status = after_failure(&entry, &error);
        assert_eq!((entry.status.state, next(&entry)), (ObjectState::Refused, Action::Apply { first: true }));
        assert!(after_failure(&entry, &error).same_facts(&entry.status), "nothing is written again");
    }

    #[test]
    fn fence_found_above_ours_is_reported_for_the_scheduler() {
        let fence = |generation, plan| Fence { generation, authority: 1, plan };
        assert!(outrun(Some(fence(1, 3)), fence(1, 3), false).is_none() && outrun(None, fence(1, 3), false).is_none());
        let above = outrun(Some(fence(1, 9)), fence(1, 3), false).unwrap();
        let status = after_failure(&entry(3, 0), &above);
        assert_eq!((status.state, status.found_epoch, status.applied_epoch), (ObjectState::Failed, 9, 0));
        let newer = outrun(Some(fence(2, 1)), fence(1, 3), false).unwrap();
        assert_eq!(after_failure(&entry(3, 0), &newer).state, ObjectState::Refused);
    }

    #[test]
    fn fence_above_a_delivered_row_is_never_raised_over() {
        let fence = |plan| Fence { generation: 1, authority: 1, plan };
        for (case, found, was_applied) in [
            ("restored database", 9, true),
            ("forged on an object of ours", u32::MAX, true),
            ("forged on an object to be adopted", u32::MAX, false),
            ("just too high", FOUND_PLAN_MAX + 1, false),
        ] {
            let error = outrun(Some(fence(found)), fence(3), was_applied).unwrap();
            let status = after_failure(&entry(3, 3), &error);
            assert_eq!((status.state, status.found_epoch), (ObjectState::Refused, 0), "{case}: {error}");
        }
    }

    #[test]
    fn refused_object_is_not_retried_until_its_plan_changes() {
        let mut entry = entry(3, 2);
        entry.status = after_failure(&entry, &ActError::Refused("it belongs to somebody else".to_owned()));
        assert_eq!((entry.status.state, next(&entry)), (ObjectState::Refused, Action::Nothing));
        entry.row.plan_epoch = 4;
        assert_eq!(next(&entry), Action::Apply { first: true });
    }
}
