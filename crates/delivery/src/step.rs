//! The next step for one object, decided from rows, status and the live object. Pure.

use store::{ObjectState, Wish};
use vocabulary::{ContentHash, Fence};

use crate::board::Entry;
use crate::live::Live;

/// What to do with one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// All is as it should be, or nothing can be done before something else happens.
    Nothing,
    /// Write it; look first whether something of that name is there when it was never delivered.
    Apply {
        /// Nothing of ours is known to be there.
        first: bool,
    },
    /// Stamp, then delete exactly the object seen.
    Delete { uid: String },
    /// Drop our marks from exactly the object seen, and leave it.
    Release { uid: String, resource_version: String },
    /// It is gone, as wished.
    Gone,
}

/// Chooses the step. `live` is the entry's own object, where there is one. `hash` is the content hash of what would be applied now, for an object that is to be there;
/// `enforce` puts drift back; `keep` are kinds that are never deleted.
pub(crate) fn next_step(
    entry: &Entry,
    live: Option<&Live>,
    fence: Fence,
    hash: Option<ContentHash>,
    enforce: bool,
    keep: bool,
) -> Step {
    let status = &entry.status;
    match (entry.row.wish, live) {
        (Wish::Present, None) => {
            // Refused stands until something about the row changes.
            let refused = status.state == ObjectState::Refused && status.applied_epoch == entry.row.plan_epoch;
            if refused { Step::Nothing } else { Step::Apply { first: true } }
        }
        (Wish::Present, Some(live)) => {
            let told = live.managed
                && status.applied_epoch == entry.row.plan_epoch
                && live.fence == Some(fence)
                && hash.is_none_or(|hash| status.applied_hash.as_deref() == Some(hash.as_bytes()));
            let refused = status.state == ObjectState::Refused && status.applied_epoch == entry.row.plan_epoch;
            let put_back = enforce && !status.drift.is_empty();
            if live.deleting || (told || refused) && !put_back { Step::Nothing } else { Step::Apply { first: false } }
        }
        (_, None) if status.state.is_over() => Step::Nothing,
        (_, None) => Step::Gone,
        (_, Some(live)) if live.deleting => Step::Nothing,
        (Wish::Delete, Some(live)) if !keep => Step::Delete { uid: live.uid.clone() },
        // It was let go already, by a process that did not live to write that down.
        (Wish::Delete | Wish::Orphan, Some(live)) if !live.managed => Step::Gone,
        (Wish::Delete | Wish::Orphan, Some(live)) => {
            Step::Release { uid: live.uid.clone(), resource_version: live.resource_version.clone() }
        }
    }
}
