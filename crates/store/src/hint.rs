//! One hint, and the texts that carry hints in notifications.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{AppId, PlacementId};

/// Maximum length of the text of one notification, in bytes; `PostgreSQL` accepts less than 8,000.
const NOTIFY_MAX: usize = 7_000;

/// A change in the database or in this process that a stage may act on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Hint {
    /// The intent of an application changed, or another input of its decision.
    Decide(AppId),
    /// Placement rows of clusters changed.
    ///
    /// Rows that were decided together are in one hint, however many clusters they concern.
    Deliver(BTreeMap<String, Vec<PlacementId>>),
    /// The observed status of an application's objects in the members changed.
    Observed(AppId),
    /// Another input of an application's status on the hub changed.
    Show(AppId),
    /// A cluster or a cell changed.
    Topology,
    /// Directives of one application, or with `None` of all applications, were put or ended.
    Directives(Option<AppId>),
    /// The health of a cluster changed, or the kinds that it serves.
    Health(String),
    /// The capacity of a cluster changed.
    Capacity(String),
    /// The time of the last sign of life of a cluster changed.
    Seen(String),
    /// The credential or the connection of a cluster changed.
    Connection(String),
    /// The connection of this process to a member changed, or the reason why it cannot connect.
    Member(String),
    /// Intake's refusal of an Application changed: its status on the hub reports the reason.
    Refused {
        /// Namespace of the Application.
        namespace: String,
        /// Name of the object.
        name: String,
    },
    /// An application or a cluster was deleted from the database: intake may release its object on the hub.
    Forgotten {
        /// Namespace of the Application; empty for a cluster.
        namespace: String,
        /// Name of the object.
        name: String,
    },
    /// An operation was created or changed.
    Operation(vocabulary::OperationId),
    /// Placement rows were deleted: a cluster that is being removed may be empty now.
    Vacated,
    /// Anything may have changed: the listener was not connected for a while.
    Everything,
}

/// Parses the hints that another process sent.
///
/// A later version may send hints that this version does not have. They become [`Hint::Everything`], because they may
/// mean any change.
pub(crate) fn read_hints(text: &str) -> Vec<Hint> {
    let Ok(items) = serde_json::from_str::<Vec<serde_json::Value>>(text) else { return vec![Hint::Everything] };
    let mut hints: Vec<Hint> =
        items.into_iter().map(|item| serde_json::from_value(item).unwrap_or(Hint::Everything)).collect();
    if hints.contains(&Hint::Everything) {
        hints = vec![Hint::Everything];
    }
    hints
}

/// Returns a hint as JSON, split into parts where it is too long for one notification.
///
/// A hint that cannot be split becomes [`Hint::Everything`].
fn items(hint: &Hint) -> Vec<String> {
    let json = |hint: &Hint| serde_json::to_string(hint).expect("hints are plain data");
    let item = json(hint);
    if item.len() <= NOTIFY_MAX {
        return vec![item];
    }
    match hint {
        Hint::Deliver(clusters) if clusters.len() > 1 => {
            let mut first = clusters.clone();
            let middle = clusters.keys().nth(clusters.len() / 2).expect("it is within the map").clone();
            let second = first.split_off(&middle);
            [first, second].into_iter().flat_map(|half| items(&Hint::Deliver(half))).collect()
        }
        _ => vec![json(&Hint::Everything)],
    }
}

/// Returns JSON lists of hints, each short enough for one notification.
pub(crate) fn texts(hints: &BTreeSet<Arc<Hint>>) -> Vec<String> {
    let mut texts = Vec::new();
    let mut current = String::new();
    for item in hints.iter().flat_map(|hint| items(hint)) {
        if !current.is_empty() && current.len() + item.len() > NOTIFY_MAX {
            texts.push(format!("[{}]", std::mem::take(&mut current)));
        }
        if !current.is_empty() {
            current.push(',');
        }
        current.push_str(&item);
    }
    if !current.is_empty() {
        texts.push(format!("[{current}]"));
    }
    texts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unreadable_hint_means_everything() {
        for (case, text, read) in [
            ("nothing", "[]", vec![]),
            ("known", r#"["Topology",{"Decide":7}]"#, vec![Hint::Topology, Hint::Decide(AppId(7))]),
            ("unknown variant", r#"["Topology",{"Later":7}]"#, vec![Hint::Everything]),
            ("known variant of another shape", r#"[{"Decide":"seven"}]"#, vec![Hint::Everything]),
            ("no list", "Topology", vec![Hint::Everything]),
        ] {
            assert_eq!(read_hints(text), read, "{case}");
        }
    }

    #[test]
    fn hint_too_long_for_a_notification_is_split_or_everything() {
        let deliver = |clusters: usize, rows: i64| {
            Hint::Deliver(
                (0..clusters)
                    .map(|number| (format!("cluster-{number:04}"), (0..rows).map(PlacementId).collect()))
                    .collect(),
            )
        };
        let received = |hint: Hint| -> Vec<Hint> {
            let texts = texts(&BTreeSet::from([Arc::new(hint)]));
            assert!(texts.iter().all(|text| text.len() <= NOTIFY_MAX + "[]".len()), "Postgres takes it");
            texts.iter().flat_map(|text| serde_json::from_str::<Vec<Hint>>(text).unwrap()).collect()
        };
        assert_eq!(received(deliver(3, 2)), [deliver(3, 2)]);
        let mut parts = BTreeMap::new();
        for part in received(deliver(1_000, 4)) {
            let Hint::Deliver(clusters) = part else { panic!("{part:?}") };
            parts.extend(clusters);
        }
        assert_eq!(Hint::Deliver(parts), deliver(1_000, 4));
        assert_eq!(received(deliver(1, 10_000)), [Hint::Everything]);
    }
}
