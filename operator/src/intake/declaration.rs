//! Detects that a Cluster or Cell on the hub is an earlier state of the one taken in. Pure.

use kube::{Resource, ResourceExt};
use serde_json::{Value, json};
use vocabulary::{hash_json, labels};

use super::Refusal;

/// A Cluster or Cell at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Declaration<'a> {
    pub(crate) object_uid: &'a str,
    /// Generation, which edits of the spec raise and edits of labels do not.
    pub(crate) generation: i64,
    /// `resourceVersion`, which each write of the object raises. See [`resource_version`].
    pub(crate) resource_version: Option<i64>,
    pub(crate) labels: &'a Value,
    pub(crate) spec: &'a Value,
    /// A user has confirmed that the member is gone for good.
    pub(crate) gone: bool,
}

/// Age of a declaration, compared with another one of the same object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Age {
    /// The declaration is of another object, or not older. Intake stores its content.
    NotOlder,
    /// The content is equal, and the version is lower or was not stored before.
    ///
    /// Intake stores only the version.
    SameAtOtherVersion,
    /// The declaration is an earlier state, for this reason.
    Older(&'static str),
}

/// Returns the `resourceVersion` of an object as a number; `None` where it is not one.
///
/// The API calls the version opaque. The version is the revision of the hub's only store, and all versions of one UID
/// come from that store. No other hub has an object of the UID, unless that hub is a copy of the store.
///
/// # Guarantees
/// A lower version for a UID means that the store went back. In ordinary operation intake never reads a lower version:
/// - Intake reads the newest state that its watch has delivered.
/// - A watch delivers one object in the order of its versions.
/// - Each list reads the store's latest state, also for the next leader.
///
/// # Limits
/// A write after the restore, also of status, gives an older state a new version. Where the store's revisions were
/// bumped, that version is above the one taken in. Older labels under the same generation then look like an edit.
pub(crate) fn resource_version<K: Resource>(object: &K) -> Option<i64> {
    object.meta().resource_version.as_deref()?.parse().ok()
}

/// Compares a declaration with the one taken in.
///
/// Another object may replace it, because a hub that was rebuilt declares its objects anew.
pub(crate) fn age_of(shown: &Declaration<'_>, taken: &Declaration<'_>) -> Age {
    if shown.object_uid != taken.object_uid {
        return Age::NotOlder;
    }
    if shown.generation < taken.generation {
        return Age::Older("its generation is lower than that");
    }
    // The generation is not compared, because a deletion raises it and must pass.
    let is_same = shown.labels == taken.labels && shown.spec == taken.spec && shown.gone == taken.gone;
    let went_back =
        matches!((shown.resource_version, taken.resource_version), (Some(shown), Some(taken)) if shown < taken);
    let is_learned = shown.resource_version.is_some() && taken.resource_version.is_none();
    match (is_same, went_back) {
        // Later states in the continued history are newer than this one, although they may not reach the version taken
        // in.
        (true, true) => Age::SameAtOtherVersion,
        (true, false) if is_learned => Age::SameAtOtherVersion,
        (false, true) => Age::Older("its resourceVersion is lower than that"),
        (_, false) => Age::NotOlder,
    }
}

/// Returns the refusal of an earlier state, unless a user has accepted exactly this state.
///
/// `kind` is the short name for kubectl.
pub(crate) fn refuse_older<K: ResourceExt>(
    object: &K,
    kind: &str,
    shown: &Declaration<'_>,
    taken: &Declaration<'_>,
) -> Option<Refusal> {
    let Age::Older(why) = age_of(shown, taken) else { return None };
    // The hash names this step back and no other, so an acceptance does not hold for ever. The version of the shown
    // object is left out, because the annotation itself raises it.
    let step =
        json!([shown.spec, shown.labels, shown.gone, shown.generation, taken.generation, taken.resource_version]);
    let step = hash_json(&step).map(|hash| hash.to_string()).unwrap_or_default();
    if object.annotations().get(labels::ACCEPT_INTENT) == Some(&step) {
        return None;
    }
    let message = format!(
        "{why} of generation {} taken in: the hub was restored from an older state, and what was taken in stays in force. \
         If what stands here is what you want, run `kubectl annotate --overwrite {kind} {} {}={step}`",
        taken.generation,
        object.name_any(),
        labels::ACCEPT_INTENT,
    );
    Some(Refusal { reason: "IntentSourceLost", message, generation: shown.generation, taken: None })
}

#[cfg(test)]
mod tests {
    use crds::Cluster;

    use super::*;

    #[test]
    fn older_labels_of_one_generation_are_an_earlier_state() {
        let (gold, iron, spec) = (json!({"tier": "gold"}), json!({"tier": "iron"}), json!({"zones": ["a"]}));
        let taken = Declaration {
            object_uid: "o",
            generation: 5,
            resource_version: Some(100),
            labels: &gold,
            spec: &spec,
            gone: false,
        };
        let relabelled = Declaration { labels: &iron, ..taken };
        let lower = Age::Older("its generation is lower than that");
        let before = Age::Older("its resourceVersion is lower than that");
        let version = |resource_version| Declaration { resource_version, ..relabelled };
        let unknown = Declaration { resource_version: None, ..taken };
        for (case, shown, taken, expected) in [
            ("the same", taken, taken, Age::NotOlder),
            ("a later write of the same", Declaration { resource_version: Some(101), ..taken }, taken, Age::NotOlder),
            ("later labels", version(Some(101)), taken, Age::NotOlder),
            ("older labels", version(Some(99)), taken, before),
            ("older labels, edited since", Declaration { generation: 6, ..version(Some(99)) }, taken, before),
            ("an older spec", Declaration { generation: 4, ..version(Some(101)) }, taken, lower),
            ("said to be gone before", Declaration { gone: true, labels: &gold, ..version(Some(99)) }, taken, before),
            (
                "the same, and the hub went back",
                Declaration { resource_version: Some(99), ..taken },
                taken,
                Age::SameAtOtherVersion,
            ),
            (
                "deleted, and the hub went back",
                Declaration { generation: 6, resource_version: Some(99), ..taken },
                taken,
                Age::SameAtOtherVersion,
            ),
            ("a version that is no number", version(None), taken, Age::NotOlder),
            ("taken in without a version", taken, unknown, Age::SameAtOtherVersion),
            ("relabelled since then", relabelled, unknown, Age::NotOlder),
            ("another object", Declaration { object_uid: "p", ..version(Some(1)) }, taken, Age::NotOlder),
        ] {
            assert_eq!(age_of(&shown, &taken), expected, "{case}");
        }
    }

    #[test]
    fn earlier_declaration_is_refused_until_a_person_accepts_it() {
        let spec = json!({"region": "north", "zones": ["n1"], "uid": "u", "connection": {"server": "https://north"}});
        let labels = json!({"tier": "gold"});
        let object = |accepted: &str| -> Cluster {
            serde_json::from_value(json!({"apiVersion": "fleet.meridian.io/v1alpha1", "kind": "Cluster", "spec": spec,
                "metadata": {"name": "north", "annotations": {labels::ACCEPT_INTENT: accepted}}}))
            .unwrap()
        };
        let declared = |generation, version| Declaration {
            object_uid: "o",
            generation,
            resource_version: Some(version),
            labels: &labels,
            spec: &spec,
            gone: false,
        };
        let (shown, taken) = (declared(4, 90), declared(5, 100));
        let refusal = refuse_older(&object(""), "mcl", &shown, &taken).unwrap();
        let step = refusal.message.rsplit('=').next().unwrap().trim_end_matches('`');
        assert_eq!(
            refuse_older(&object(step), "mcl", &Declaration { resource_version: Some(91), ..shown }, &taken),
            None
        );
        let other = json!({"tier": "iron"});
        for (case, shown, taken) in [
            ("another generation", declared(3, 90), taken),
            ("other labels", Declaration { labels: &other, ..shown }, taken),
            ("the same step from a later state", shown, declared(5, 110)),
        ] {
            let again = refuse_older(&object(step), "mcl", &shown, &taken);
            assert!(again.is_some_and(|refusal| !refusal.message.contains(step)), "{case}");
        }
    }
}
