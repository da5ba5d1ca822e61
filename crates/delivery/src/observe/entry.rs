//! One placement row with what is known of its object, and the identity of objects. Pure.

use std::sync::Arc;

use crds::cluster::v1alpha1::Amounts;
use serde_json::Value;
use store::{ObjectState, PlacementRow, StatusRow};
use vocabulary::{ContentHash, ObjectKey};

use crate::observe::observed_object::ObservedObject;

/// One placement with its status.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) row: PlacementRow,
    pub(crate) status: StatusRow,
    /// Fields Meridian owned after the last apply in this process. Names the fields that drifted.
    pub(crate) applied_fields: Option<Arc<Value>>,
    /// Revision and the requests of one pod in that revision.
    pub(crate) pod: Option<(ContentHash, Amounts)>,
    /// Name of the application; `None` before it was read.
    pub(crate) app_name: Option<String>,
}

impl Entry {
    /// Whether the member accepted an apply at least once since the row was created.
    pub(crate) fn was_applied(&self) -> bool {
        self.status.applied_revision.is_some()
    }

    /// Whether the object was applied as the row requires and has not drifted since.
    pub(crate) fn rests(&self) -> bool {
        let status = &self.status;
        status.state == ObjectState::Applied && status.applied_epoch == self.row.plan_epoch && status.drift.is_empty()
    }
}

/// Group and kind of an API object. All versions of a kind hold the same objects.
pub(crate) type GroupKind = (String, String);

/// Identity of an object, independent of the API version it is read in.
pub(crate) type ObjectId = (GroupKind, String, String);

pub(crate) fn object_id(key: &ObjectKey) -> ObjectId {
    ((key.group().to_owned(), key.kind.clone()), key.namespace.clone(), key.name.clone())
}

/// Whether a live object is the one delivered for the entry.
///
/// The UID decides. Where it is unknown or differs, the labels that name the application and component decide.
pub(crate) fn belongs(entry: &Entry, live: &ObservedObject) -> bool {
    let is_known = entry.status.object_uid.as_ref() == Some(&live.uid);
    let names_owner = live.managed
        && entry.app_name.is_some()
        && live.app == entry.app_name
        && live.component.as_ref() == Some(&entry.row.component);
    is_known || names_owner
}

/// Whether an applied object is missing from its watch.
///
/// The object may be deleted or may only have lost its label; the next attempt looks it up.
pub(crate) fn is_missing(entry: &Entry, live: Option<&ObservedObject>) -> bool {
    live.is_none() && entry.status.object_uid.is_some() && !entry.status.state.is_over()
}
