//! Whether what the hub shows may replace what was taken in.

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

#[cfg(test)]
mod tests {
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
}
