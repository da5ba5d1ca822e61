//! Tests of the deletes that wait for a person.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use store::{CellRow, ClusterRow, ClusterTaken, DirectiveRow};
use vocabulary::ObjectKey;

use super::*;
use crate::fleet_snapshot::FleetRows;
use crate::held_cells::HeldCell;

fn row(id: i64, plan_epoch: u32) -> PlacementRow {
    PlacementRow {
        id: id.into(),
        app: 1.into(),
        component: "web".to_owned(),
        cell: "east".to_owned(),
        slot: store::Slot::Main,
        cluster: "east".to_owned(),
        object: ObjectKey {
            api_version: "v1".to_owned(),
            kind: "ConfigMap".to_owned(),
            namespace: "shop".to_owned(),
            name: "web".to_owned(),
        },
        rank: 0,
        divided: false,
        target: 0,
        floor: 0,
        surge: 0,
        plan_epoch,
        revision: ContentHash::of(b""),
        inputs: None,
        desired_state: DesiredState::Present,
    }
}

#[test]
fn a_confirmation_holds_for_the_rows_that_were_shown() {
    let of = |id, plan_epoch| Deletes { going: vec![row(id, plan_epoch)], ..Deletes::default() };
    let confirmed = Some(of(7, 3).plan());
    for (case, id, plan_epoch, holds) in [
        ("what was shown", 7, 3, true),
        ("placed anew after it was gone", 8, 1, false),
        ("wanted again before it was gone", 7, 5, false),
    ] {
        let now = Deletes { confirmed, ..of(id, plan_epoch) };
        assert_eq!(now.is_confirmed(), holds, "{case}");
    }
}

fn snapshot() -> FleetSnapshot {
    let fleet = FleetRows {
        clusters: Vec::new(),
        cells: Vec::new(),
        directives: Vec::new(),
        bookings: store::Bookings::default(),
        breaker: None,
    };
    FleetSnapshot::of(fleet, Timestamp::UNIX_EPOCH, SignedDuration::from_secs(60)).0
}

/// Returns a revision with one component `stays`, which is a `ConfigMap` of that name.
fn revision() -> Arc<StoredRevision> {
    let app = vocabulary::AppKey { namespace: "shop".to_owned(), name: "web".to_owned() };
    let body = br#"{"components": [{"name": "stays", "template": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "stays"}}}]}"#;
    Arc::new(StoredRevision::parse(&app, body).unwrap())
}

#[test]
fn a_delete_confirmed_beforehand_neither_waits_nor_counts() {
    let hash = |text: &str| ContentHash::of(text.as_bytes());
    let edit = Edit { before: Some(hash("a")), after: Some(hash("b")) };
    let whole = confirmation::whole_application("u-1");
    let confirmed_edit = confirmation::edit("u-1", hash("a"), hash("b"));
    let (delete, stays) = (Some(Removal::Delete), ["web", "stays"].as_slice());
    for (case, confirmed, removal, edit, counted) in [
        ("the application by its UID", whole, delete, edit, [].as_slice()),
        ("another application's UID", confirmation::whole_application("u-2"), delete, edit, stays),
        ("a UID confirms no edit", whole, None, edit, stays),
        ("the edit as it was previewed", confirmed_edit, None, edit, &["stays"]),
        ("an edit in between", confirmed_edit, None, Edit { before: Some(hash("c")), ..edit }, stays),
        ("another edit", confirmed_edit, None, Edit { after: Some(hash("c")), ..edit }, stays),
        ("an edit confirms no deletion", confirmed_edit, delete, edit, stays),
    ] {
        let beforehand = Beforehand::judge("u-1", confirmed, removal, edit, Some(&revision()));
        let mut deletes = Deletes { beforehand, ..Deletes::default() };
        for component in ["web", "stays"] {
            let row = PlacementRow { component: component.to_owned(), ..row(7, 1) };
            deletes.consider(&snapshot(), &HeldCells::new(), &row, DesiredState::Delete);
        }
        let found: Vec<&str> = deletes.going.iter().map(|row| row.component.as_str()).collect();
        assert_eq!(found, counted, "{case}");
    }
}

#[test]
fn only_own_deletes_wait_for_a_person_however_long() {
    let window = |lately| DeleteWindow {
        present: [("east".to_owned(), 50)].into(),
        of_cluster: [("east".to_owned(), lately)].into(),
        ..DeleteWindow::default()
    };
    let going = |ids: std::ops::Range<i64>| Deletes {
        going: ids.map(|id| row(id, 1)).collect(),
        present: 100,
        ..Deletes::default()
    };
    let asked = going(1..30).pending("many".to_owned());
    for (case, waiting, now, lately, expected) in [
        ("few", None, going(1..3), 0, None),
        ("few, after many of others", None, going(1..3), 20, Some(false)),
        ("few, when those of others lie further back", None, going(1..3), 0, None),
        ("many at once", None, going(1..13), 0, Some(true)),
        ("some that a person was asked about", Some(&asked), going(1..3), 0, Some(true)),
        ("nothing any more", Some(&asked), going(1..1), 0, None),
    ] {
        let excess = now.reason_to_wait(1.into(), waiting, &window(lately));
        assert_eq!(excess.as_ref().map(|excess| excess.is_own), expected, "{case}: {excess:?}");
    }
}

/// Returns a snapshot of cluster `east` with the declared cells `east-x` and `east-y`, under one directive.
fn snapshot_with(app: Option<store::AppId>, target: &Value, effect: &str) -> FleetSnapshot {
    let cluster = |name: &str| ClusterRow {
        taken: ClusterTaken {
            name: name.to_owned(),
            object_uid: "o".to_owned(),
            member_uid: "m".to_owned(),
            generation: 1,
            labels: json!({}),
            spec: json!({"region": "r", "zones": ["a"], "uid": name, "connection": {"server": "https://m:6443"}}),
            removal: None,
            gone: false,
            resource_version: None,
        },
        status: None,
    };
    let cell = |name: &str| CellRow {
        name: name.to_owned(),
        labels: json!({}),
        spec: Some(json!({"cluster": "east", "zone": "a"})),
        object_uid: None,
        generation: None,
        resource_version: None,
        leaving: false,
        authority: 1,
    };
    let directive = DirectiveRow {
        id: 1,
        scope: target.clone(),
        effect: json!(effect),
        app,
        owner: "drain-east".to_owned(),
        key: Some("drain".to_owned()),
        reason: "new nodes".to_owned(),
        since: Timestamp::UNIX_EPOCH,
        until: None,
    };
    let fleet = FleetRows {
        clusters: vec![cluster("east"), cluster("west")],
        cells: vec![cell("east-x"), cell("east-y")],
        directives: vec![directive],
        bookings: store::Bookings::default(),
        breaker: None,
    };
    FleetSnapshot::of(fleet, Timestamp::UNIX_EPOCH, SignedDuration::from_secs(60)).0
}

#[test]
fn deletes_that_a_draining_directive_causes_do_not_count() {
    let (east, west) = (json!({"Cluster": {"cluster": "east"}}), json!({"Cluster": {"cluster": "west"}}));
    let x = json!({"Cell": {"cell": "east-x"}});
    for (case, app, target, effect, held, counted) in [
        ("the cluster for all", None, &east, "Drain", [].as_slice(), [].as_slice()),
        ("the cluster for the application", Some(1), &east, "Drain", &[], &[]),
        ("the cluster for another application", Some(2), &east, "Drain", &[], &["east", "east-x", "east-y"]),
        ("another cluster", None, &west, "Drain", &[], &["east", "east-x", "east-y"]),
        ("the cluster is cordoned", None, &east, "Cordon", &[], &["east", "east-x", "east-y"]),
        ("its only cell", None, &x, "Drain", &["east-x"], &["east-y"]),
        ("one of its cells", None, &x, "Drain", &["east-x", "east-y"], &["east", "east-y"]),
        ("one cell here, one elsewhere", None, &x, "Drain", &["east-x", "west"], &["east-y"]),
    ] {
        let snapshot = snapshot_with(app.map(store::AppId::from), target, effect);
        let held_cell = || HeldCell { target: 1, revision: ContentHash::of(b"r"), inputs: None };
        let held: HeldCells = held.iter().map(|cell| (cell.parse().unwrap(), held_cell())).collect();
        let mut deletes = Deletes::default();
        for cell in ["east", "east-x", "east-y"] {
            let row = PlacementRow { cell: cell.to_owned(), ..row(7, 1) };
            deletes.consider(&snapshot, &held, &row, DesiredState::Delete);
        }
        let found: Vec<&str> = deletes.going.iter().map(|row| row.cell.as_str()).collect();
        assert_eq!(found, counted, "{case}");
    }
}
