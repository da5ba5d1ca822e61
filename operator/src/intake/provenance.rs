//! Decides whether an Application on the hub may replace the one taken in. Pure.

use crds::Application;
use domain::confirmation;
use domain::intent::{Intent, PolicySource};
use jiff::Timestamp;
use kube::ResourceExt;
use store::ApplicationRow;
use vocabulary::{AppKey, ContentHash, labels};

use super::Refusal;

/// Stored state of an Application.
pub(super) enum StoredApplication {
    Nothing,
    Taken(Box<ApplicationRow>),
    /// The object was deleted at this time, and the deletion was carried out.
    Forgotten(Timestamp),
}

/// Compares an Application on the hub with its stored state.
pub(super) fn provenance_of(
    hub_uid: &str,
    object: &Application,
    spec_hash: &ContentHash,
    known: &StoredApplication,
    policy: Option<&PolicySource>,
) -> Provenance {
    let before = match known {
        StoredApplication::Nothing => Before::Nothing,
        StoredApplication::Forgotten(at) => Before::Forgotten(*at),
        StoredApplication::Taken(row) => Before::Taken {
            source: IntentSource {
                hub_uid: &row.hub_uid,
                object_uid: &row.object_uid,
                generation: row.generation,
                spec_hash: row.spec_hash.as_bytes(),
            },
            acceptances: row.acceptances,
        },
    };
    let policy_before = match known {
        StoredApplication::Taken(row) => {
            serde_json::from_value::<Intent>(row.intent.clone()).ok().and_then(|intent| intent.policy)
        }
        StoredApplication::Nothing | StoredApplication::Forgotten(_) => None,
    };
    let same = policy_before.zip(policy).filter(|(before, now)| before.uid == now.uid);
    let source = IntentSource {
        hub_uid,
        object_uid: object.metadata.uid.as_deref().unwrap_or_default(),
        generation: object.metadata.generation.unwrap_or_default(),
        spec_hash: spec_hash.as_bytes(),
    };
    let shown = IntentOnHub {
        source,
        policy: same.map(|(before, now)| PolicyGenerations { taken: before.generation, shown: now.generation }),
        accepted: object.annotations().get(labels::ACCEPT_INTENT).map(String::as_str),
    };
    compare(before, shown)
}

/// Returns the refusal of an object that is not the successor of the one taken in.
pub(super) fn source_lost(key: &AppKey, generation: i64, why: &str, taken: String) -> Refusal {
    let (namespace, name) = (&key.namespace, &key.name);
    let message = format!(
        "{why}; members stay as they are. If what stands here is what you want, run `meridian intake accept {name} -n {namespace}`"
    );
    Refusal { reason: "IntentSourceLost", message, generation, taken: Some(taken) }
}

/// `IntentSource` of an intent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IntentSource<'a> {
    pub(crate) hub_uid: &'a str,
    pub(crate) object_uid: &'a str,
    pub(crate) generation: i64,
    pub(crate) spec_hash: &'a [u8],
}

/// Stored state of an Application that the hub's object is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Before<'a> {
    /// Nothing is stored, neither for the name nor for the object.
    Nothing,
    /// The intent that was taken in last.
    Taken {
        source: IntentSource<'a>,
        /// Number of intents of the Application that users have accepted.
        acceptances: i64,
    },
    /// The object was deleted, and the deletion was carried out at this time.
    Forgotten(Timestamp),
}

/// Generations of an Application's `PlacementPolicy`: taken in, and shown now by the same object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PolicyGenerations {
    pub(crate) taken: i64,
    pub(crate) shown: i64,
}

/// Application on the hub, with all fields that distinguish an edit from an earlier state.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IntentOnHub<'a> {
    pub(crate) source: IntentSource<'a>,
    /// `None` where the Application has no policy, or another policy than before.
    pub(crate) policy: Option<PolicyGenerations>,
    /// Hash in the annotation by which a user accepts an intent.
    pub(crate) accepted: Option<&'a str>,
}

/// Relation of an object on the hub to the state taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Provenance {
    /// The object is new, or newer than the one taken in.
    Newer,
    /// The object equals the one taken in.
    Same,
    /// The source was lost, and a user has accepted the object as the intent.
    Accepted,
    /// The object cannot be the successor of the one taken in.
    SourceLost {
        /// Reason for the refusal.
        why: &'static str,
        /// Name of the state taken in, as used in an acceptance.
        taken: String,
    },
}

/// Compares an Application on the hub with the stored state.
///
/// An acceptance names the shown object and the state it replaces, including the number of earlier acceptances. So an
/// acceptance does not hold for ever.
pub(crate) fn compare(before: Before<'_>, shown: IntentOnHub<'_>) -> Provenance {
    let is_older_policy = shown.policy.is_some_and(|policy| policy.shown < policy.taken);
    let why = match compare_source(before, shown.source) {
        Ok(_) if is_older_policy => OLDER_POLICY,
        Ok(provenance) => return provenance,
        Err(why) => why,
    };
    let taken = name_of_taken(before, shown.policy);
    let IntentSource { object_uid, generation, spec_hash, .. } = shown.source;
    let wanted = confirmation::intent(spec_hash, object_uid, generation, &taken).to_string();
    if shown.accepted == Some(wanted.as_str()) { Provenance::Accepted } else { Provenance::SourceLost { why, taken } }
}

const OLDER_POLICY: &str =
    "its PlacementPolicy has a lower generation than the one taken in: the hub was restored from an older state";

fn compare_source(before: Before<'_>, shown: IntentSource<'_>) -> Result<Provenance, &'static str> {
    let taken = match before {
        Before::Nothing => return Ok(Provenance::Newer),
        Before::Forgotten(_) => {
            return Err(
                "the application was deleted, with all that it delivered: the hub was restored from an older state",
            );
        }
        Before::Taken { source, .. } => source,
    };
    if taken.hub_uid != shown.hub_uid {
        return Err("this is another hub than the one the application was taken in from");
    }
    if taken.object_uid != shown.object_uid {
        return Err("the object was created again, and its deletion was never seen");
    }
    match shown.generation.cmp(&taken.generation) {
        std::cmp::Ordering::Greater => Ok(Provenance::Newer),
        std::cmp::Ordering::Less => {
            Err("its generation is lower than the one taken in: the hub was restored from an older state")
        }
        std::cmp::Ordering::Equal if taken.spec_hash == shown.spec_hash => Ok(Provenance::Same),
        std::cmp::Ordering::Equal => {
            Err("it has the generation taken in but another content: the hub was restored from another state")
        }
    }
}

fn name_of_taken(before: Before<'_>, policy: Option<PolicyGenerations>) -> String {
    match (before, policy) {
        (Before::Nothing, _) => "nothing".to_owned(),
        (Before::Forgotten(at), _) => format!("deleted {at}"),
        (Before::Taken { source, acceptances }, None) => {
            format!("generation {}, acceptances {acceptances}", source.generation)
        }
        (Before::Taken { source, acceptances }, Some(policy)) => format!(
            "generation {}, policy generation {} before {}, acceptances {acceptances}",
            source.generation, policy.taken, policy.shown
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAKEN: IntentSource<'_> = IntentSource { hub_uid: "h", object_uid: "o", generation: 5, spec_hash: b"x" };

    fn shown(source: IntentSource<'_>) -> IntentOnHub<'_> {
        IntentOnHub { source, policy: None, accepted: None }
    }

    fn taken(generation: i64, acceptances: i64) -> Before<'static> {
        Before::Taken { source: IntentSource { generation, ..TAKEN }, acceptances }
    }

    /// Returns the acceptance that `meridian intake accept` writes for the shown object.
    fn accept(before: Before<'_>, shown: IntentOnHub<'_>) -> String {
        let Provenance::SourceLost { taken, .. } = compare(before, shown) else { panic!("{shown:?} is not lost") };
        let IntentSource { object_uid, generation, spec_hash, .. } = shown.source;
        confirmation::intent(spec_hash, object_uid, generation, &taken).to_string()
    }

    #[test]
    fn only_newer_generation_of_same_object_and_hub_is_taken_in() {
        for (source, expected) in [
            (IntentSource { generation: 6, spec_hash: b"y", ..TAKEN }, Some(Provenance::Newer)),
            (TAKEN, Some(Provenance::Same)),
            (IntentSource { generation: 5, spec_hash: b"y", ..TAKEN }, None),
            (IntentSource { generation: 4, ..TAKEN }, None),
            (IntentSource { generation: 6, hub_uid: "other", ..TAKEN }, None),
            (IntentSource { generation: 6, object_uid: "other", ..TAKEN }, None),
        ] {
            let found = match compare(taken(5, 0), shown(source)) {
                Provenance::SourceLost { .. } => None,
                provenance => Some(provenance),
            };
            assert_eq!(found, expected, "{source:?}");
        }
        assert_eq!(compare(Before::Nothing, shown(TAKEN)), Provenance::Newer);
    }

    #[test]
    fn an_acceptance_holds_for_one_restore_and_no_other() {
        let older = shown(IntentSource { generation: 3, spec_hash: b"s1", ..TAKEN });
        let hash = accept(taken(5, 0), older);
        let accepted = IntentOnHub { accepted: Some(&hash), ..older };
        assert_eq!(compare(taken(5, 0), accepted), Provenance::Accepted);
        // After the acceptance the object is edited up to the earlier generation. Then the hub is restored with the
        // annotation.
        let edited = |source| IntentOnHub { source, ..accepted };
        for (case, before, again) in [
            ("the same step back", taken(5, 1), accepted),
            ("from another generation", taken(7, 0), accepted),
            ("another spec", taken(5, 0), edited(IntentSource { spec_hash: b"s2", ..older.source })),
            ("another generation", taken(5, 0), edited(IntentSource { generation: 4, ..older.source })),
            ("another object", taken(5, 0), edited(IntentSource { object_uid: "other", ..older.source })),
        ] {
            let found = compare(before, again);
            assert!(matches!(found, Provenance::SourceLost { .. }), "{case}: {found:?}");
            let hash = accept(before, again);
            assert_eq!(compare(before, IntentOnHub { accepted: Some(&hash), ..again }), Provenance::Accepted, "{case}");
        }
    }

    #[test]
    fn a_deleted_application_comes_back_only_when_accepted() {
        let deleted = |second| Before::Forgotten(Timestamp::from_second(second).unwrap());
        let hash = accept(deleted(100), shown(TAKEN));
        let accepted = IntentOnHub { accepted: Some(&hash), ..shown(TAKEN) };
        assert_eq!(compare(deleted(100), accepted), Provenance::Accepted);
        let again = compare(deleted(200), accepted);
        assert!(matches!(again, Provenance::SourceLost { .. }), "it was deleted again: {again:?}");
    }

    #[test]
    fn an_older_policy_is_accepted_for_its_generation_alone() {
        let with =
            |taken, shown| IntentOnHub { policy: Some(PolicyGenerations { taken, shown }), ..self::shown(TAKEN) };
        for (case, policy, lost) in [("newer", (4, 5), false), ("the same", (5, 5), false), ("older", (5, 4), true)] {
            let found = compare(taken(5, 0), with(policy.0, policy.1));
            assert_eq!(matches!(found, Provenance::SourceLost { .. }), lost, "{case}: {found:?}");
        }
        let hash = accept(taken(5, 0), with(5, 4));
        let accepted = |taken_policy, shown, acceptances| {
            compare(taken(5, acceptances), IntentOnHub { accepted: Some(&hash), ..with(taken_policy, shown) })
        };
        assert_eq!(accepted(5, 4, 0), Provenance::Accepted);
        for (case, found) in [
            ("an older one still", accepted(5, 3, 0)),
            ("the next step back", accepted(4, 3, 1)),
            ("the same step back", accepted(5, 4, 1)),
        ] {
            assert!(matches!(found, Provenance::SourceLost { .. }), "{case}: {found:?}");
        }
    }
}
