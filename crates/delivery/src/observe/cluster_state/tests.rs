//! Tests of the cluster state.

use store::ObjectState;
use vocabulary::ContentHash;

use super::*;
use crate::observe::row_status::drift_message;

fn row(plan_epoch: u32, target: i32) -> PlacementRow {
    PlacementRow {
        id: 7.into(),
        app: 1.into(),
        component: "web".to_owned(),
        cell: "east".to_owned(),
        slot: store::Slot::Main,
        cluster: "east".to_owned(),
        object: ObjectKey {
            api_version: "apps/v1".to_owned(),
            kind: "Deployment".to_owned(),
            namespace: "shop".to_owned(),
            name: "web".to_owned(),
        },
        rank: 0,
        divided: true,
        target,
        floor: 0,
        surge: 0,
        plan_epoch,
        revision: ContentHash::of(b"web"),
        inputs: None,
        desired_state: DesiredState::Present,
    }
}

fn status(state: ObjectState, applied_epoch: u32) -> StatusRow {
    StatusRow { state, applied_epoch, ..StatusRow::unknown(7.into(), Timestamp::UNIX_EPOCH) }
}

#[test]
fn only_changed_or_unsettled_rows_need_work() {
    let mut cluster_state = ClusterState::default();
    let mut take = |row: PlacementRow, now: StatusRow| {
        let calls = cluster_state.take_rows(vec![row], Timestamp::UNIX_EPOCH)[0].1;
        cluster_state.take_status(vec![now]);
        calls
    };
    assert!(take(row(1, 3), status(ObjectState::Applied, 1)), "it is new");
    assert!(!take(row(1, 3), status(ObjectState::Applied, 1)), "it was delivered");
    assert!(take(row(2, 4), status(ObjectState::Applied, 1)), "it changed");
    assert!(take(row(2, 4), status(ObjectState::Failed, 2)), "this plan was not delivered");
    assert!(take(row(2, 4), status(ObjectState::Refused, 2)), "it failed");
    let drifted = StatusRow { drift: vec![".spec".to_owned()], ..status(ObjectState::Applied, 2) };
    assert!(take(row(2, 4), drifted), "it was refused");
    assert!(take(row(2, 4), status(ObjectState::Applied, 2)), "it drifted");
    assert!(!take(row(2, 4), status(ObjectState::Applied, 2)));
}

#[test]
fn drift_of_a_scaled_number_does_not_advise_enforce() {
    let drift = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>();
    for (case, paths, divided, advice) in [
        ("scaled in a member", drift(&[".spec.replicas"]), false, "remove spec.replicas from the template"),
        ("scaled although it is divided", drift(&[".spec.replicas"]), true, "set spec.drift: Enforce"),
        ("more than scaled", drift(&[".spec.replicas", ".spec.x"]), false, "and 1 more changed"),
        ("another field", drift(&[".metadata.labels.a"]), false, "set spec.drift: Enforce"),
    ] {
        let message = drift_message(&paths, divided).unwrap();
        assert!(message.contains(advice), "{case}: {message}");
    }
    assert_eq!(drift_message(&[], false), None);
}

#[test]
fn a_foreign_finalizer_is_named_while_its_object_is_deleted() {
    let object = |finalizers: serde_json::Value| {
        serde_json::json!({"metadata": {"name": "web", "namespace": "shop", "uid": "u", "finalizers": finalizers,
            "deletionTimestamp": "2026-11-02T03:04:05Z"}})
    };
    for (case, finalizers, expected) in [
        ("a foreign one", serde_json::json!(["example.org/hold"]), Some("held by finalizer example.org/hold")),
        ("the garbage collector's", serde_json::json!(["foregroundDeletion"]), None),
    ] {
        let live = ObservedObject::read("apps/v1", "Deployment", &object(finalizers)).unwrap();
        let row = PlacementRow { desired_state: DesiredState::Delete, ..row(2, 0) };
        let status = StatusRow { object_uid: Some("u".to_owned()), ..status(ObjectState::Deleting, 1) };
        let entry = Entry { row, status, applied_fields: None, pod: None, app_name: None };
        let message = observed(&entry, Some(&live), Timestamp::UNIX_EPOCH).message;
        assert_eq!(message.is_some(), expected.is_some(), "{case}: {message:?}");
        assert!(message.unwrap_or_default().contains(expected.unwrap_or_default()), "{case}");
    }
}

#[test]
fn objects_that_belong_to_no_row_are_kept_up_to_a_limit() {
    let mut cluster_state = ClusterState::default();
    cluster_state.take_rows(vec![row(1, 1)], Timestamp::UNIX_EPOCH);
    let live = |name: String| {
        let object = serde_json::json!({"metadata": {"name": name, "namespace": "shop", "uid": name}});
        ObservedObject::read("apps/v1", "Deployment", &object).unwrap()
    };
    for number in 0..FOREIGN_OBJECTS_MAX + 50 {
        cluster_state.upsert(live(format!("foreign-{number}")));
    }
    assert_eq!(cluster_state.upsert(live("web".to_owned())), Some(7.into()), "what belongs to a row is always kept");
    assert!(cluster_state.live.len() <= FOREIGN_OBJECTS_MAX + 2, "{}", cluster_state.live.len());
}

#[test]
fn a_row_of_an_earlier_reading_changes_nothing() {
    let mut cluster_state = ClusterState::default();
    cluster_state.take_rows(vec![row(3, 5)], Timestamp::UNIX_EPOCH);
    cluster_state.take_rows(vec![row(2, 4)], Timestamp::UNIX_EPOCH);
    assert_eq!(cluster_state.entries[&7.into()].row, row(3, 5));
    cluster_state.keep_only(&[]);
    assert!(cluster_state.entries.is_empty() && cluster_state.by_app.is_empty());
}
