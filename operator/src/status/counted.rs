//! Counts the replicas of each object of an Application for its status. Pure.

use std::collections::BTreeMap;

use crds::application::v1alpha1::ObjectStatus;
use domain::render::{self, ReplicaOwner};
use store::{DesiredState, PlacementRow, StatusRow};

/// Desired and placed replicas of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counted {
    /// Decided number, or the number last seen where the member decides.
    pub(super) desired: i32,
    /// Number that the member is to run now.
    pub(super) placed: i32,
}

/// Counts the replicas of one object.
///
/// Returns `None` for an object that has no replicas, or whose controller does not report any.
///
/// Where the template gives no number, the member's autoscaler owns it. Its number is not among the stored facts, so it
/// is taken from the pods. These are the pods of the latest template, or the available pods while a new template rolls
/// out.
pub(super) fn count_replicas(
    row: &PlacementRow,
    status: &StatusRow,
    owners: &BTreeMap<String, ReplicaOwner>,
) -> Option<Counted> {
    let placed = row.rendered();
    let known = owners.get(&row.component);
    if row.divided || known == Some(&ReplicaOwner::Placement) {
        return Some(Counted { desired: row.target, placed });
    }
    let is_scalable = render::is_scalable(&row.object);
    let reports = status.replicas > 0 || status.available > 0 || status.ready > 0;
    match known {
        Some(ReplicaOwner::Member) if row.desired_state == DesiredState::Present && row.target > 0 => {
            let seen = if status.settled { status.replicas } else { status.updated.max(status.available) };
            let desired = row.target.max(seen);
            Some(Counted { desired, placed: placed.max(desired) })
        }
        Some(_) if is_scalable || reports => Some(Counted { desired: row.target, placed }),
        // The object is no longer declared but still exists.
        None if is_scalable => Some(Counted { desired: row.target, placed }),
        Some(_) | None => None,
    }
}

/// Counts the replicas of templates whose objects have no row, because their names are not free.
pub(super) fn count_without_row(problems: &[ObjectStatus], owners: &BTreeMap<String, ReplicaOwner>) -> i32 {
    let number = |problem: &ObjectStatus| match owners.get(&problem.component) {
        Some(ReplicaOwner::Template { replicas }) => *replicas,
        Some(ReplicaOwner::Member) => 1,
        Some(ReplicaOwner::Placement) | None => 0,
    };
    problems.iter().map(number).fold(0, i32::saturating_add)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use vocabulary::{ContentHash, ObjectKey};

    use super::*;

    fn row(kind: &str, divided: bool, target: i32, floor: i32) -> PlacementRow {
        let api_version = if kind == "Widget" { "example.io/v1" } else { "apps/v1" }.to_owned();
        PlacementRow {
            id: 1.into(),
            app: 1.into(),
            component: "web".to_owned(),
            cell: "east".to_owned(),
            slot: store::Slot::Main,
            cluster: "east".to_owned(),
            object: ObjectKey {
                api_version,
                kind: kind.to_owned(),
                namespace: "shop".to_owned(),
                name: "web".to_owned(),
            },
            rank: 50,
            divided,
            target,
            floor,
            surge: 0,
            inputs: None,
            plan_epoch: 1,
            revision: ContentHash::of(b"web"),
            desired_state: DesiredState::Present,
        }
    }

    fn status(settled: bool, replicas: i32, available: i32, updated: i32) -> StatusRow {
        StatusRow {
            settled,
            replicas,
            ready: available,
            available,
            updated,
            ..StatusRow::unknown(1.into(), Timestamp::UNIX_EPOCH)
        }
    }

    #[test]
    fn every_component_with_replicas_is_counted() {
        let (placement, member) = (Some(ReplicaOwner::Placement), Some(ReplicaOwner::Member));
        let stated = Some(ReplicaOwner::Template { replicas: 2 });
        for (case, row, status, owner, expected) in [
            ("divided and moving", row("Deployment", true, 2, 4), status(true, 4, 4, 4), placement, Some((2, 4))),
            (
                "a StatefulSet of each cell",
                row("StatefulSet", false, 2, 0),
                status(true, 2, 2, 2),
                stated,
                Some((2, 2)),
            ),
            ("a singleton beside it", row("Deployment", false, 1, 0), status(false, 0, 0, 0), stated, Some((1, 1))),
            ("scaled by its member", row("Deployment", false, 1, 0), status(true, 5, 5, 5), member, Some((5, 5))),
            ("scaling up there", row("Deployment", false, 1, 0), status(false, 9, 5, 9), member, Some((9, 9))),
            ("rolling out there", row("Deployment", false, 1, 0), status(false, 6, 5, 1), member, Some((5, 5))),
            ("suspended", row("Deployment", false, 0, 0), status(true, 0, 0, 0), member, Some((0, 0))),
            ("left the spec", row("StatefulSet", false, 0, 0), status(true, 2, 2, 2), None, Some((0, 0))),
            ("a kind that reports them", row("Widget", false, 2, 0), status(true, 2, 2, 2), stated, Some((2, 2))),
            ("a kind that reports none", row("Widget", false, 2, 0), status(true, 0, 0, 0), stated, None),
            ("pods of nodes", row("DaemonSet", false, 1, 0), status(true, 3, 3, 3), None, None),
        ] {
            let owners = owner.map(|owner| ("web".to_owned(), owner)).into_iter().collect();
            let found = count_replicas(&row, &status, &owners).map(|counted| (counted.desired, counted.placed));
            assert_eq!(found, expected, "{case}");
        }
    }

    #[test]
    fn replicas_without_a_free_name_are_still_asked_for() {
        let problem = |component: &str| ObjectStatus { component: component.to_owned(), ..ObjectStatus::default() };
        let owners = BTreeMap::from([
            ("sets".to_owned(), ReplicaOwner::Template { replicas: 3 }),
            ("web".to_owned(), ReplicaOwner::Placement),
        ]);
        let problems = [problem("sets"), problem("sets"), problem("web"), problem("settings")];
        assert_eq!(count_without_row(&problems, &owners), 6);
    }
}
