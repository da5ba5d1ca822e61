//! Whether the Application that the hub shows may replace what was taken in. Pure.

use crds::Application;
use domain::confirmation;
use domain::intent::{Intent, PolicySource};
use jiff::Timestamp;
use kube::ResourceExt;
use store::ApplicationRow;
use vocabulary::{AppKey, ContentHash, labels};

use super::Refusal;

/// The row of an Application, or what became of it.
pub(super) enum Known {
    Nothing,
    Taken(Box<ApplicationRow>),
    /// The object was deleted then, and the deletion was carried out.
    Forgotten(Timestamp),
}

/// Compares what the hub shows with what is known.
pub(super) fn provenance_of(
    hub_uid: &str,
    object: &Application,
    spec_hash: &ContentHash,
    known: &Known,
    policy: Option<&PolicySource>,
) -> Provenance {
    let before = match known {
        Known::Nothing => Before::Nothing,
        Known::Forgotten(at) => Before::Forgotten(*at),
        Known::Taken(row) => Before::Taken {
            source: Source {
                hub_uid: &row.hub_uid,
                object_uid: &row.object_uid,
                generation: row.generation,
                spec_hash: &row.spec_hash,
            },
            acceptances: row.acceptances,
        },
    };
    let policy_before = match known {
        Known::Taken(row) => serde_json::from_value::<Intent>(row.intent.clone()).ok().and_then(|intent| intent.policy),
        Known::Nothing | Known::Forgotten(_) => None,
    };
    let same = policy_before.zip(policy).filter(|(before, now)| before.uid == now.uid);
    let source = Source {
        hub_uid,
        object_uid: object.metadata.uid.as_deref().unwrap_or_default(),
        generation: object.metadata.generation.unwrap_or_default(),
        spec_hash: spec_hash.as_bytes(),
    };
    let shown = StatusTarget {
        source,
        policy: same.map(|(before, now)| PolicyGenerations { taken: before.generation, shown: now.generation }),
        accepted: object.annotations().get(labels::ACCEPT_INTENT).map(String::as_str),
    };
    compare(before, shown)
}

/// The refusal of an object that is not the successor of what was taken in.
pub(super) fn source_lost(key: &AppKey, generation: i64, why: &str, taken: String) -> Refusal {
    let (namespace, name) = (&key.namespace, &key.name);
    let message = format!(
        "{why}; members stay as they are. If what stands here is what you want, run `meridian intake accept {name} -n {namespace}`"
    );
    Refusal { reason: "IntentSourceLost", message, generation, taken: Some(taken) }
}

/// Where an intent comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Source<'a> {
    /// UID of the hub.
    pub(crate) hub_uid: &'a str,
    /// UID of the object.
    pub(crate) object_uid: &'a str,
    /// Generation of the object.
    pub(crate) generation: i64,
    /// Hash of its spec.
    pub(crate) spec_hash: &'a [u8],
}

/// What the database has of an Application when the hub shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Before<'a> {
    /// Nothing, neither of the name nor of the object.
    Nothing,
    /// The intent taken in last.
    Taken {
        /// Where it comes from.
        source: Source<'a>,
        /// How often a person accepted an intent of the Application.
        acceptances: i64,
    },
    /// The object was deleted, and the deletion was carried out.
    Forgotten(Timestamp),
}

/// Generations of the `PlacementPolicy` of an Application: of the object taken in, and of the same object as shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PolicyGenerations {
    pub(crate) taken: i64,
    pub(crate) shown: i64,
}

/// Everything that tells an order from an earlier state of the hub.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StatusTarget<'a> {
    pub(crate) source: Source<'a>,
    /// `None` where the Application has no policy, or another one than before.
    pub(crate) policy: Option<PolicyGenerations>,
    /// What a person accepts, as annotated.
    pub(crate) accepted: Option<&'a str>,
}

/// What to do with an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Provenance {
    /// It is new, or newer than what was taken in.
    Newer,
    /// It is what was taken in.
    Same,
    /// Its source was lost, and a person says that it is the intent now.
    Accepted,
    /// It cannot be the successor of what was taken in.
    SourceLost {
        /// Why not.
        why: &'static str,
        /// What was taken in, as an acceptance names it.
        taken: String,
    },
}

/// Compares what the hub shows with what is stored. An acceptance names the object shown and what it takes the place of, the
/// acceptances before among that: what was accepted once is not accepted for ever.
pub(crate) fn compare(before: Before<'_>, shown: StatusTarget<'_>) -> Provenance {
    let is_older_policy = shown.policy.is_some_and(|policy| policy.shown < policy.taken);
    let why = match compare_source(before, shown.source) {
        Ok(_) if is_older_policy => OLDER_POLICY,
        Ok(provenance) => return provenance,
        Err(why) => why,
    };
    let taken = name_of_taken(before, shown.policy);
    let Source { object_uid, generation, spec_hash, .. } = shown.source;
    let wanted = confirmation::intent(spec_hash, object_uid, generation, &taken).to_string();
    if shown.accepted == Some(wanted.as_str()) { Provenance::Accepted } else { Provenance::SourceLost { why, taken } }
}

const OLDER_POLICY: &str =
    "its PlacementPolicy has a lower generation than the one taken in: the hub was restored from an older state";

fn compare_source(before: Before<'_>, shown: Source<'_>) -> Result<Provenance, &'static str> {
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

    const TAKEN: Source<'_> = Source { hub_uid: "h", object_uid: "o", generation: 5, spec_hash: b"x" };

    fn shown(source: Source<'_>) -> StatusTarget<'_> {
        StatusTarget { source, policy: None, accepted: None }
    }

    fn taken(generation: i64, acceptances: i64) -> Before<'static> {
        Before::Taken { source: Source { generation, ..TAKEN }, acceptances }
    }

    /// The acceptance that `meridian intake accept` writes for what is shown.
    fn accept(before: Before<'_>, shown: StatusTarget<'_>) -> String {
        let Provenance::SourceLost { taken, .. } = compare(before, shown) else { panic!("{shown:?} is not lost") };
        let Source { object_uid, generation, spec_hash, .. } = shown.source;
        confirmation::intent(spec_hash, object_uid, generation, &taken).to_string()
    }

    #[test]
    fn only_newer_generation_of_same_object_and_hub_is_taken_in() {
        for (source, expected) in [
            (Source { generation: 6, spec_hash: b"y", ..TAKEN }, Some(Provenance::Newer)),
            (TAKEN, Some(Provenance::Same)),
            (Source { generation: 5, spec_hash: b"y", ..TAKEN }, None),
            (Source { generation: 4, ..TAKEN }, None),
            (Source { generation: 6, hub_uid: "other", ..TAKEN }, None),
            (Source { generation: 6, object_uid: "other", ..TAKEN }, None),
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
        let older = shown(Source { generation: 3, spec_hash: b"s1", ..TAKEN });
        let hash = accept(taken(5, 0), older);
        let accepted = StatusTarget { accepted: Some(&hash), ..older };
        assert_eq!(compare(taken(5, 0), accepted), Provenance::Accepted);
        // It is taken in, and edited up to the generation of before. The hub is restored with the annotation.
        let edited = |source| StatusTarget { source, ..accepted };
        for (case, before, again) in [
            ("the same step back", taken(5, 1), accepted),
            ("from another generation", taken(7, 0), accepted),
            ("another spec", taken(5, 0), edited(Source { spec_hash: b"s2", ..older.source })),
            ("another generation", taken(5, 0), edited(Source { generation: 4, ..older.source })),
            ("another object", taken(5, 0), edited(Source { object_uid: "other", ..older.source })),
        ] {
            let found = compare(before, again);
            assert!(matches!(found, Provenance::SourceLost { .. }), "{case}: {found:?}");
            let hash = accept(before, again);
            assert_eq!(
                compare(before, StatusTarget { accepted: Some(&hash), ..again }),
                Provenance::Accepted,
                "{case}"
            );
        }
    }

    #[test]
    fn a_deleted_application_comes_back_only_when_accepted() {
        let deleted = |second| Before::Forgotten(Timestamp::from_second(second).unwrap());
        let hash = accept(deleted(100), shown(TAKEN));
        let accepted = StatusTarget { accepted: Some(&hash), ..shown(TAKEN) };
        assert_eq!(compare(deleted(100), accepted), Provenance::Accepted);
        let again = compare(deleted(200), accepted);
        assert!(matches!(again, Provenance::SourceLost { .. }), "it was deleted again: {again:?}");
    }

    #[test]
    fn an_older_policy_is_accepted_for_its_generation_alone() {
        let with =
            |taken, shown| StatusTarget { policy: Some(PolicyGenerations { taken, shown }), ..self::shown(TAKEN) };
        for (case, policy, lost) in [("newer", (4, 5), false), ("the same", (5, 5), false), ("older", (5, 4), true)] {
            let found = compare(taken(5, 0), with(policy.0, policy.1));
            assert_eq!(matches!(found, Provenance::SourceLost { .. }), lost, "{case}: {found:?}");
        }
        let hash = accept(taken(5, 0), with(5, 4));
        let accepted = |taken_policy, shown, acceptances| {
            compare(taken(5, acceptances), StatusTarget { accepted: Some(&hash), ..with(taken_policy, shown) })
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
