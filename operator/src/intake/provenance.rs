//! Whether what the hub shows may replace what was taken in.

use kube::ResourceExt;
use serde_json::Value;
use vocabulary::{hash_json, labels};

use super::Refusal;

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

/// What to do with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Provenance {
    /// It is new, or newer than what was taken in.
    Newer,
    /// It is what was taken in.
    Same,
    /// It cannot be the successor of what was taken in: another hub, another object, an older generation,
    /// or another content under the same generation.
    SourceLost(&'static str),
}

/// Compares what the hub shows with what was taken in last.
pub(crate) fn compare(taken: Option<Source<'_>>, shown: Source<'_>) -> Provenance {
    let Some(taken) = taken else { return Provenance::Newer };
    if taken.hub_uid != shown.hub_uid {
        return Provenance::SourceLost("this is another hub than the one the application was taken in from");
    }
    if taken.object_uid != shown.object_uid {
        return Provenance::SourceLost("the object was created again, and its deletion was never seen");
    }
    match shown.generation.cmp(&taken.generation) {
        std::cmp::Ordering::Greater => Provenance::Newer,
        std::cmp::Ordering::Less => Provenance::SourceLost(
            "its generation is lower than the one taken in: the hub was restored from an older state",
        ),
        std::cmp::Ordering::Equal if taken.spec_hash == shown.spec_hash => Provenance::Same,
        std::cmp::Ordering::Equal => Provenance::SourceLost(
            "it has the generation taken in but another content: the hub was restored from another state",
        ),
    }
}

/// Why a declaration of a place is refused that is an earlier state of the object taken in, by UID and generation, unless a
/// person wants exactly it. Another object may take its place: a hub that was rebuilt declares anew.
pub(crate) fn older<K: ResourceExt>(object: &K, kind: &str, taken: (&str, i64), spec: &Value) -> Option<Refusal> {
    let generation = object.meta().generation.unwrap_or_default();
    // Names this step back and no other: what was accepted once is not accepted for ever.
    let content = hash_json(&(spec, generation, taken.1)).map(|hash| hash.to_string()).unwrap_or_default();
    let accepted = object.annotations().get(labels::ACCEPT_INTENT) == Some(&content);
    if object.uid().as_deref() != Some(taken.0) || generation >= taken.1 || accepted {
        return None;
    }
    let message = format!(
        "its generation {generation} is lower than the {} taken in: the hub was restored from an older state, and what was \
         taken in stays in force. If what stands here is what you want, run `kubectl annotate --overwrite {kind} {} {}={content}`",
        taken.1,
        object.name_any(),
        labels::ACCEPT_INTENT,
    );
    Some(Refusal { reason: "IntentSourceLost", message, generation })
}

#[cfg(test)]
mod tests {
    use crds::Cluster;
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_higher_generation_of_the_same_object_on_the_same_hub_is_taken_in() {
        let taken = Source { hub_uid: "h", object_uid: "o", generation: 5, spec_hash: b"x" };
        for (shown, expected) in [
            (Source { generation: 6, spec_hash: b"y", ..taken }, Some(true)),
            (taken, Some(false)),
            (Source { generation: 5, spec_hash: b"y", ..taken }, None),
            (Source { generation: 4, ..taken }, None),
            (Source { generation: 6, hub_uid: "other", ..taken }, None),
            (Source { generation: 6, object_uid: "other", ..taken }, None),
        ] {
            let found = match compare(Some(taken), shown) {
                Provenance::Newer => Some(true),
                Provenance::Same => Some(false),
                Provenance::SourceLost(_) => None,
            };
            assert_eq!(found, expected, "{shown:?}");
        }
        assert_eq!(compare(None, taken), Provenance::Newer);
    }

    #[test]
    fn an_earlier_state_of_a_declaration_is_refused_until_a_person_wants_it() {
        let spec = json!({"region": "north", "zones": ["n1"], "uid": "u", "connection": {"server": "https://north"}});
        let object = |uid: &str, generation: i64, accepted: &str| -> Cluster {
            serde_json::from_value(json!({"apiVersion": "fleet.meridian.io/v1alpha1", "kind": "Cluster", "spec": spec,
                "metadata": {"name": "north", "uid": uid, "generation": generation,
                    "annotations": {labels::ACCEPT_INTENT: accepted}}}))
            .unwrap()
        };
        let content = hash_json(&(&spec, 4, 5)).unwrap().to_string();
        for (uid, generation, accepted, refused) in [
            ("o", 4, "", true),
            ("o", 4, content.as_str(), false),
            ("o", 3, content.as_str(), true),
            ("o", 5, "", false),
            ("o", 6, "", false),
            ("other", 1, "", false),
        ] {
            let refusal = older(&object(uid, generation, accepted), "mcl", ("o", 5), &spec);
            assert_eq!(refusal.is_some(), refused, "{uid} {generation}");
            let named = hash_json(&(&spec, generation, 5)).unwrap().to_string();
            assert!(refusal.is_none_or(|refusal| refusal.message.contains(&named)), "the remedy names what it accepts");
        }
    }
}
