//! Chooses the next action for one object from its row, status and live object. Pure.

use store::{DesiredState, ObjectState};
use vocabulary::{ContentHash, Fence};

use crate::observe::entry::Entry;
use crate::observe::observed_object::ObservedObject;

/// Action on one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// The object is as required, or another event must happen first.
    Nothing,
    /// Apply the object.
    Apply {
        /// No object of ours is known to exist.
        ///
        /// The apply must find the name free, or the existing object is checked first.
        first: bool,
    },
    /// Stamp the fence on exactly the observed object, then delete it.
    Delete { uid: String },
    /// Remove our labels and annotations from exactly the observed object, and keep it.
    Release { uid: String, resource_version: String },
    /// The object is gone, as the row requires.
    Gone,
}

/// Chooses the next action for an object.
///
/// - `live` is the entry's own object, if it exists.
/// - `hash` is the content hash of the rendered object, for a row that is `Present`.
/// - `enforce` reverts drift.
/// - `keep` is set for kinds that are never deleted.
pub(crate) fn next_action(
    entry: &Entry,
    live: Option<&ObservedObject>,
    fence: Fence,
    hash: Option<ContentHash>,
    enforce: bool,
    keep: bool,
) -> Action {
    let status = &entry.status;
    match (entry.row.desired_state, live) {
        (DesiredState::Present, None) => {
            // A refusal stays valid until something about the row changes.
            let refused = status.state == ObjectState::Refused && status.applied_epoch == entry.row.plan_epoch;
            if refused { Action::Nothing } else { Action::Apply { first: true } }
        }
        (DesiredState::Present, Some(live)) => {
            let is_applied = live.managed
                && status.applied_epoch == entry.row.plan_epoch
                && live.fence == Some(fence)
                && hash.is_none_or(|hash| status.applied_hash == Some(hash));
            let refused = status.state == ObjectState::Refused && status.applied_epoch == entry.row.plan_epoch;
            let put_back = enforce && !status.drift.is_empty();
            if live.deleting || (is_applied || refused) && !put_back {
                Action::Nothing
            } else {
                Action::Apply { first: false }
            }
        }
        (_, None) if status.state.is_over() => Action::Nothing,
        (_, None) => Action::Gone,
        (_, Some(live)) if live.deleting => Action::Nothing,
        (DesiredState::Delete, Some(live)) if !keep => Action::Delete { uid: live.uid.clone() },
        // Already released by a process that ended before it could record that.
        (DesiredState::Delete | DesiredState::Orphan, Some(live)) if !live.managed => Action::Gone,
        (DesiredState::Delete | DesiredState::Orphan, Some(live)) => {
            Action::Release { uid: live.uid.clone(), resource_version: live.resource_version.clone() }
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;
    use store::{PlacementRow, Slot, StatusRow};
    use vocabulary::{ObjectKey, labels};

    use super::*;

    const FENCE: Fence = Fence { generation: 1, authority: 1, plan: 4 };

    fn entry(desired_state: DesiredState, state: ObjectState, applied_epoch: u32) -> Entry {
        let object = ObjectKey {
            api_version: "v1".to_owned(),
            kind: "PersistentVolumeClaim".to_owned(),
            namespace: "shop".to_owned(),
            name: "data".to_owned(),
        };
        let row = PlacementRow {
            id: 7.into(),
            app: 1.into(),
            component: "data".to_owned(),
            cell: "east".to_owned(),
            slot: Slot::Main,
            cluster: "east".to_owned(),
            object,
            rank: 0,
            divided: false,
            target: 0,
            floor: 0,
            surge: 0,
            inputs: None,
            plan_epoch: FENCE.plan,
            revision: ContentHash::of(b"web"),
            desired_state,
        };
        let status = StatusRow { state, applied_epoch, ..StatusRow::unknown(7.into(), Timestamp::UNIX_EPOCH) };
        Entry { row, status, applied_fields: None, pod: None, app_name: None }
    }

    fn live(managed: bool, deleting: bool) -> ObservedObject {
        let mut metadata = json!({"namespace": "shop", "name": "data", "uid": "u", "resourceVersion": "9"});
        if managed {
            metadata["labels"] = json!({labels::MANAGED: "true"});
            metadata["annotations"] = json!({labels::FENCE: FENCE.to_string()});
        }
        if deleting {
            metadata["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        ObservedObject::read("v1", "PersistentVolumeClaim", &json!({"metadata": metadata})).unwrap()
    }

    #[test]
    fn action_follows_desired_state_and_live_object() {
        let delete = || Action::Delete { uid: "u".to_owned() };
        let release = || Action::Release { uid: "u".to_owned(), resource_version: "9".to_owned() };
        let (here, let_go, going) = (live(true, false), live(false, false), live(true, true));
        let applied = ObjectState::Applied;
        for (case, desired_state, state, applied_epoch, there, keep, expected) in [
            ("new", DesiredState::Present, ObjectState::Failed, 0, None, false, Action::Apply { first: true }),
            ("refused", DesiredState::Present, ObjectState::Refused, 4, None, false, Action::Nothing),
            (
                "refused before",
                DesiredState::Present,
                ObjectState::Refused,
                3,
                None,
                false,
                Action::Apply { first: true },
            ),
            ("as applied", DesiredState::Present, applied, 4, Some(&here), false, Action::Nothing),
            ("new plan", DesiredState::Present, applied, 3, Some(&here), false, Action::Apply { first: false }),
            ("marks lost", DesiredState::Present, applied, 4, Some(&let_go), false, Action::Apply { first: false }),
            ("being deleted", DesiredState::Present, applied, 3, Some(&going), false, Action::Nothing),
            ("to go", DesiredState::Delete, applied, 4, Some(&here), false, delete()),
            ("to go, is going", DesiredState::Delete, applied, 4, Some(&going), false, Action::Nothing),
            ("to go, is gone", DesiredState::Delete, applied, 4, None, false, Action::Gone),
            ("to go, told so", DesiredState::Delete, ObjectState::Gone, 4, None, false, Action::Nothing),
            ("never deleted", DesiredState::Delete, applied, 4, Some(&here), true, release()),
            ("let go before the record", DesiredState::Delete, applied, 4, Some(&let_go), true, Action::Gone),
            ("orphan", DesiredState::Orphan, applied, 4, Some(&here), false, release()),
            ("orphan let go before the record", DesiredState::Orphan, applied, 4, Some(&let_go), false, Action::Gone),
        ] {
            let action = next_action(&entry(desired_state, state, applied_epoch), there, FENCE, None, false, keep);
            assert_eq!(action, expected, "{case}");
        }
    }
}
