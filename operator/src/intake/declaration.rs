//! Whether a Cluster or Cell on the hub is an earlier state of the one that was taken in. Pure.

use kube::{Resource, ResourceExt};
use serde_json::{Value, json};
use vocabulary::{hash_json, labels};

use super::Refusal;

/// A Cluster or Cell at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Declaration<'a> {
    /// UID of the object.
    pub(crate) object_uid: &'a str,
    /// Its generation: edits of the spec raise it, edits of labels do not.
    pub(crate) generation: i64,
    /// Its resourceVersion: each write of the object raises it. See [`resource_version`].
    pub(crate) resource_version: Option<i64>,
    /// Its labels.
    pub(crate) labels: &'a Value,
    /// Its spec.
    pub(crate) spec: &'a Value,
    /// A person says that the member is gone for good.
    pub(crate) gone: bool,
}

/// What a declaration is compared with another one of the same object by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Age {
    /// It is another object, or not older: what it says is taken in.
    NotOlder,
    /// It says the same, and its version is lower or was not known: only the version is stored anew.
    SameAtOtherVersion,
    /// It is an earlier state, for this reason.
    Older(&'static str),
}

/// The version of an object as a number; `None` where it is not one.
///
/// The API calls it opaque. The hub has one store, whose revision it is, and versions of one UID come from that store alone:
/// no other hub has an object of the UID, unless it is a copy of that store.
///
/// # Guarantees
/// A lower version for a UID means that the store went back. In ordinary operation nobody sees one: intake looks at the newest
/// state its watch has delivered, a watch delivers one object in the order of its versions, and each list is read from the
/// store's latest state, also by the next leader.
///
/// # Limits
/// A write after the restore, of status too, gives an older state a new version. Where the store's revisions were bumped, that
/// version is above the one taken in, and older labels under the same generation are not told from an edit any more.
pub(crate) fn resource_version<K: Resource>(object: &K) -> Option<i64> {
    object.meta().resource_version.as_deref()?.parse().ok()
}

/// Compares a declaration with the one taken in. Another object may take its place: a hub that was rebuilt declares anew.
pub(crate) fn age_of(shown: &Declaration<'_>, taken: &Declaration<'_>) -> Age {
    if shown.object_uid != taken.object_uid {
        return Age::NotOlder;
    }
    if shown.generation < taken.generation {
        return Age::Older("its generation is lower than that");
    }
    // The generation is not compared: a deletion raises it, and goes through.
    let is_same = shown.labels == taken.labels && shown.spec == taken.spec && shown.gone == taken.gone;
    let went_back =
        matches!((shown.resource_version, taken.resource_version), (Some(shown), Some(taken)) if shown < taken);
    let is_learned = shown.resource_version.is_some() && taken.resource_version.is_none();
    match (is_same, went_back) {
        // What follows in the history that goes on is newer than this, although it may not reach the version taken in.
        (true, true) => Age::SameAtOtherVersion,
        (true, false) if is_learned => Age::SameAtOtherVersion,
        (false, true) => Age::Older("its resourceVersion is lower than that"),
        (_, false) => Age::NotOlder,
    }
}

/// Why an earlier state is refused, unless a person wants exactly it. `kind`: short name for kubectl.
pub(crate) fn refuse_older<K: ResourceExt>(
    object: &K,
    kind: &str,
    shown: &Declaration<'_>,
    taken: &Declaration<'_>,
) -> Option<Refusal> {
    let Age::Older(why) = age_of(shown, taken) else { return None };
    // Names this step back and no other: what was accepted once is not accepted for ever. The version of what is shown rises
    // with the annotation itself.
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
