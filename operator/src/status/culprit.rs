//! Finds the cause that holds up an object: the object itself, or another one that it needs. Pure.

use std::collections::HashMap;

use store::{DesiredState, ObjectState, PlacementId, PlacementRow, StatusRow};
use vocabulary::shorten;

/// Maximum number of bytes of the cause.
const CULPRIT_BYTES_MAX: usize = 512;

/// Returns why an object is not in its desired state.
///
/// The cause is the object's own message, or that of an object in its cluster that is delivered before it. Returns
/// `None` where nothing is wrong, or no object has a message.
pub(super) fn culprit(
    row: &PlacementRow,
    rows: &[PlacementRow],
    status: &HashMap<PlacementId, StatusRow>,
) -> Option<String> {
    let own = status.get(&row.id);
    if let Some(message) = own.and_then(|status| status.message.as_deref()).filter(|message| !message.is_empty()) {
        return Some(shorten(message, CULPRIT_BYTES_MAX));
    }
    if row.desired_state != DesiredState::Present {
        return None;
    }
    let is_delivered = own.is_some_and(|status| is_delivered(row, status));
    if is_delivered && own.is_some_and(|status| status.settled) {
        return None;
    }
    let before = rows.iter().filter(|other| {
        other.cluster == row.cluster
            && other.id != row.id
            && other.desired_state == DesiredState::Present
            && other.rank < row.rank
    });
    let mut undelivered = None;
    for other in before {
        let known = status.get(&other.id);
        let name = format!("{} {}", other.object.kind, other.object.name);
        let is_there = known.is_some_and(|status| is_delivered_once(other, status));
        let message = known.and_then(|status| status.message.as_deref()).filter(|message| !message.is_empty());
        match message {
            Some(message) if !is_there || is_delivered => {
                return Some(shorten(&format!("waits for {name}: {message}"), CULPRIT_BYTES_MAX));
            }
            None if !is_there && !is_delivered => {
                undelivered.get_or_insert_with(|| format!("waits for {name}, which is not delivered yet"));
            }
            Some(_) | None => {}
        }
    }
    undelivered
}

fn is_delivered(row: &PlacementRow, status: &StatusRow) -> bool {
    status.state == ObjectState::Applied && status.applied_epoch == row.plan_epoch
}

/// Later objects are delivered as soon as the member has accepted this object's revision once.
fn is_delivered_once(row: &PlacementRow, status: &StatusRow) -> bool {
    status.applied_epoch > 0 && status.applied_revision == Some(row.revision)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use vocabulary::{ContentHash, ObjectKey};

    use super::*;

    fn row(id: i64, kind: &str, rank: i16) -> PlacementRow {
        PlacementRow {
            id: id.into(),
            app: 1.into(),
            component: kind.to_lowercase(),
            cell: "east".to_owned(),
            slot: store::Slot::Main,
            cluster: "east".to_owned(),
            object: ObjectKey {
                api_version: "v1".to_owned(),
                kind: kind.to_owned(),
                namespace: "shop".to_owned(),
                name: "web".to_owned(),
            },
            rank,
            divided: false,
            target: 1,
            floor: 0,
            surge: 0,
            inputs: None,
            plan_epoch: 3,
            revision: ContentHash::of(b"web"),
            desired_state: DesiredState::Present,
        }
    }

    fn applied(settled: bool, message: &str) -> StatusRow {
        StatusRow {
            state: ObjectState::Applied,
            applied_epoch: 3,
            applied_revision: Some(ContentHash::of(b"web")),
            settled,
            message: (!message.is_empty()).then(|| message.to_owned()),
            ..StatusRow::unknown(1.into(), Timestamp::UNIX_EPOCH)
        }
    }

    fn undelivered(message: &str) -> StatusRow {
        StatusRow { state: ObjectState::Refused, applied_epoch: 0, applied_revision: None, ..applied(false, message) }
    }

    #[test]
    fn the_object_that_holds_a_workload_up_is_named() {
        let waiting = || undelivered("");
        for (case, before, workload, expected) in [
            ("all is well", applied(true, ""), applied(true, ""), None),
            ("its own message", applied(true, ""), applied(false, "it is paused"), Some("it is paused")),
            (
                "a refused object",
                undelivered("key is not valid"),
                waiting(),
                Some("waits for ConfigMap web: key is not valid"),
            ),
            ("one under way", undelivered(""), waiting(), Some("waits for ConfigMap web, which is not delivered yet")),
            (
                "pods that wait for it",
                applied(true, "no volume is bound yet"),
                applied(false, ""),
                Some("waits for ConfigMap web: no volume is bound yet"),
            ),
            ("settled all the same", applied(true, "no volume is bound yet"), applied(true, ""), None),
            ("pods that only start", applied(true, ""), applied(false, ""), None),
        ] {
            let rows = [row(1, "ConfigMap", 2), row(2, "Deployment", 50)];
            let status = HashMap::from([(1.into(), before), (2.into(), workload)]);
            assert_eq!(culprit(&rows[1], &rows, &status).as_deref(), expected, "{case}");
        }
    }
}
