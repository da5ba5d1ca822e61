//! Tests of the ready.

use std::collections::HashMap;

use domain::intent::Intent;
use domain::render::ReplicaOwner;
use domain::topology::{ClusterFacts, Topology};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use store::{ApplicationRow, PlacementRow, StatusRow};
use vocabulary::{AppKey, ContentHash, ObjectKey, Verdict};

use super::*;

fn application(record: &DecisionRecord) -> ApplicationRow {
    ApplicationRow {
        id: 1.into(),
        key: AppKey { namespace: "shop".to_owned(), name: "web".to_owned() },
        hub_uid: "h".to_owned(),
        object_uid: "u".to_owned(),
        generation: 1,
        spec_hash: ContentHash::of(b"spec"),
        intent: json!({}),
        revision: ContentHash::of(b"now"),
        removal: None,
        removal_since: None,
        delete_confirmed: None,
        rebalance_asked: None,
        rebalance_done: None,
        input_hash: Some(ContentHash::of(b"inputs")),
        decision: Some(serde_json::to_value(record).unwrap()),
        decided_at: Some(Timestamp::UNIX_EPOCH),
        decided_generation: 1,
        decision_version: 1,
        acceptances: 0,
    }
}

fn row(id: i64, cluster: &str, kind: &str, target: i32) -> PlacementRow {
    let rank = if kind == "ConfigMap" { 2 } else { 50 };
    let api_version = if kind == "ConfigMap" { "v1" } else { "apps/v1" }.to_owned();
    PlacementRow {
        id: id.into(),
        app: 1.into(),
        component: kind.to_lowercase(),
        cell: cluster.to_owned(),
        slot: store::Slot::Main,
        cluster: cluster.to_owned(),
        object: ObjectKey { api_version, kind: kind.to_owned(), namespace: "shop".to_owned(), name: "web".to_owned() },
        rank,
        divided: kind == "Deployment",
        target,
        floor: 0,
        surge: 0,
        inputs: None,
        plan_epoch: 1,
        revision: ContentHash::of(b"now"),
        desired_state: DesiredState::Present,
    }
}

fn well(row: &PlacementRow) -> StatusRow {
    StatusRow {
        state: ObjectState::Applied,
        applied_epoch: 1,
        observed_epoch: 1,
        applied_revision: Some(ContentHash::of(b"now")),
        replicas: row.target,
        ready: row.target,
        available: row.target,
        updated: row.target,
        settled: true,
        ..StatusRow::unknown(row.id, Timestamp::UNIX_EPOCH)
    }
}

fn refused(row: &PlacementRow, message: &str) -> StatusRow {
    let unknown = StatusRow::unknown(row.id, Timestamp::UNIX_EPOCH);
    StatusRow { state: ObjectState::Refused, message: Some(message.to_owned()), ..unknown }
}

fn show(rows: &[PlacementRow], known: Vec<StatusRow>, replicas: i32, record: &DecisionRecord) -> ApplicationStatus {
    show_seen(rows, known, replicas, record, &["east", "west"])
}

/// Builds the status while only some clusters were seen.
fn show_seen(
    rows: &[PlacementRow],
    known: Vec<StatusRow>,
    replicas: i32,
    record: &DecisionRecord,
    seen: &[&str],
) -> ApplicationStatus {
    let intent: Intent = serde_json::from_value(json!({
        "replicas": replicas, "suspended": false, "placement": {}, "drift": "Report", "adopt": "Never",
    }))
    .unwrap();
    let cluster = |name: &str| ClusterFacts {
        name: name.parse().unwrap(),
        region: "r".to_owned(),
        zones: vec!["z".to_owned()],
        taints: Vec::new(),
        cordoned: false,
        drain: false,
        health: Verdict::Pass,
        deploys: true,
        kinds: std::collections::BTreeSet::new(),
        capacity: Vec::new(),
        tenancy: domain::tenancy::Tenancy::default(),
    };
    let clusters = ["east", "west"].map(|name| (name.parse().unwrap(), cluster(name)));
    let topology = Topology { clusters: clusters.into_iter().collect(), ..Topology::default() };
    let seen = seen.iter().map(|name| ((*name).to_owned(), Timestamp::UNIX_EPOCH)).collect();
    // The first row of a cell has the revision decided for the cell.
    let mut cell_revisions: HashMap<String, ContentHash> = HashMap::new();
    for row in rows {
        cell_revisions.entry(row.cell.clone()).or_insert(row.revision);
    }
    let status: HashMap<_, _> = known.into_iter().map(|status| (status.placement, status)).collect();
    Facts {
        row: &application(record),
        intent: &intent,
        cell_revisions: &cell_revisions,
        rows,
        status: &status,
        revisions: &[],
        release: None,
        topology: &topology,
        seen: &seen,
        refusal: None,
        before: &[],
        generation: 1,
        now: Timestamp::UNIX_EPOCH,
        stale_after: SignedDuration::from_secs(60),
    }
    .status()
}

fn ready_of(status: &ApplicationStatus) -> (&str, &str, &str) {
    let ready = status.conditions.iter().find(|condition| condition.type_ == condition::READY).unwrap();
    (&ready.status, &ready.reason, &ready.message)
}

fn owned(owners: &[(&str, ReplicaOwner)], wanted: i32) -> DecisionRecord {
    let replica_owners = owners.iter().map(|(name, owner)| ((*name).to_owned(), *owner)).collect();
    DecisionRecord { replica_owners, wanted, ..DecisionRecord::default() }
}

#[test]
fn waiting_objects_of_earlier_revision_are_placed_not_desired() {
    let earlier = PlacementRow { revision: ContentHash::of(b"earlier"), ..row(2, "east", "StatefulSet", 2) };
    let rows = [row(1, "east", "StatefulSet", 2), earlier];
    let record = owned(&[("statefulset", ReplicaOwner::Template { replicas: 2 })], 0);
    let status = show(&rows, rows.iter().map(well).collect(), 0, &record);
    let cell = &status.cells[0];
    assert_eq!((cell.desired, cell.placed, cell.available, cell.updated), (2, 4, 4, 2));
    assert_eq!(cell.revision, rows[0].revision.short());
}

#[test]
fn objects_ahead_of_their_cell_are_counted() {
    let earlier = PlacementRow { revision: ContentHash::of(b"earlier"), ..row(1, "east", "StatefulSet", 2) };
    let rows = [earlier, row(2, "east", "Deployment", 3)];
    let owner = |name| (name, ReplicaOwner::Template { replicas: 2 });
    let record = owned(&[owner("statefulset"), owner("deployment")], 0);
    let status = show(&rows, rows.iter().map(well).collect(), 0, &record);
    assert_eq!(status.cells[0].desired, 5, "the first is of the cell's revision, the second of the wanted one");
}

#[test]
fn undivided_components_are_shown_with_their_replicas() {
    let rows = [row(1, "east", "StatefulSet", 2), row(2, "west", "StatefulSet", 2)];
    let record = owned(&[("statefulset", ReplicaOwner::Template { replicas: 2 })], 0);
    let status = show(&rows, rows.iter().map(well).collect(), 0, &record);
    assert_eq!((status.desired, status.placed, status.available), (4, 4, 4));
    assert_eq!(status.cells.iter().map(|cell| cell.desired).collect::<Vec<_>>(), [2, 2]);
    assert_eq!(ready_of(&status), ("True", "Available", "4 of 4 replicas available"));
}

#[test]
fn a_singleton_beside_the_divided_component_counts() {
    let mut single = row(3, "east", "StatefulSet", 1);
    single.cell = "east-2".to_owned();
    let rows = [row(1, "east", "Deployment", 3), row(2, "west", "Deployment", 3), single];
    let owners = [("deployment", ReplicaOwner::Placement), ("statefulset", ReplicaOwner::Template { replicas: 1 })];
    let mut known: Vec<StatusRow> = rows.iter().map(well).collect();
    let status = show(&rows, known.clone(), 6, &owned(&owners, 6));
    assert_eq!(ready_of(&status), ("True", "Available", "7 of 7 replicas available"));
    assert_eq!(status.divided.map(|divided| (divided.desired, divided.placed)), Some((6, 6)));
    known[2] = StatusRow { settled: false, available: 0, ready: 0, ..known[2].clone() };
    let status = show(&rows, known, 6, &owned(&owners, 6));
    assert_eq!(ready_of(&status), ("False", "Progressing", "6 of 7 replicas available"));
}

#[test]
fn directive_that_holds_floors_is_named() {
    let rows = [PlacementRow { floor: 3, ..row(1, "east", "Deployment", 0) }, row(2, "west", "Deployment", 3)];
    let record = owned(&[("deployment", ReplicaOwner::Placement)], 3);
    let held = DecisionRecord { floor_hold: Some("directive 7 of op-1 holds them: soak".to_owned()), ..record.clone() };
    for (case, record, expected) in [
        ("no directive", record, "3 of 6 replicas available; 3 stay until enough others are available"),
        (
            "a directive",
            held,
            "3 of 6 replicas available; 3 stay until enough others are available and while directive 7 of op-1 holds them: soak",
        ),
    ] {
        let status = show(&rows, rows.iter().map(well).collect(), 3, &record);
        assert_eq!(ready_of(&status), ("False", "Progressing", expected), "{case}");
    }
}

#[test]
fn objects_without_replicas_are_not_called_replicas() {
    let rows = [row(1, "east", "ConfigMap", 0), row(2, "west", "ConfigMap", 0)];
    let status = show(&rows, rows.iter().map(well).collect(), 0, &DecisionRecord::default());
    assert_eq!(ready_of(&status), ("True", "Available", "2 of 2 objects are in place; none has replicas"));
}

#[test]
fn refused_object_is_named_once_and_where_it_holds_up() {
    let rows: Vec<PlacementRow> = ["east", "west"]
        .iter()
        .zip([1, 3])
        .flat_map(|(cluster, id)| [row(id, cluster, "ConfigMap", 0), row(id + 1, cluster, "Deployment", 2)])
        .collect();
    let message = "ConfigMap \"web\" is invalid: data[a b]: Invalid value: \"a b\": a valid config key is needed";
    let waits = |row: &PlacementRow| StatusRow::unknown(row.id, Timestamp::UNIX_EPOCH);
    let known = rows.iter().map(|row| if row.divided { waits(row) } else { refused(row, message) }).collect();
    let status = show(&rows, known, 4, &owned(&[("deployment", ReplicaOwner::Placement)], 4));
    let cause = "data[a b]: Invalid value: \"a b\": a valid config key is needed";
    let ready = format!("{cause} (ConfigMap web in east, west)");
    assert_eq!(ready_of(&status), ("False", "Refused", ready.as_str()));
    for cell in &status.cells {
        let message = cell.message.as_deref().unwrap_or_default();
        assert!(message.starts_with("waits for ConfigMap web: ") && message.ends_with(cause), "{message}");
    }
    let pending = status.objects.iter().find(|object| object.kind == "Deployment").unwrap();
    assert!(pending.state == "Pending" && pending.message.contains(cause), "{pending:?}");
}

#[test]
fn objects_staying_in_a_silent_cluster_are_not_ready() {
    let mut left = row(1, "east", "Deployment", 0);
    left.desired_state = DesiredState::Delete;
    let mut own = row(3, "east", "Deployment", 1);
    (own.component, own.divided) = ("worker".to_owned(), false);
    let daemon = row(3, "east", "DaemonSet", 1);
    let leaves = PlacementRow { desired_state: DesiredState::Delete, ..daemon.clone() };
    let owners = [
        ("deployment", ReplicaOwner::Placement),
        ("worker", ReplicaOwner::Template { replicas: 1 }),
        ("statefulset", ReplicaOwner::Template { replicas: 1 }),
    ];
    for (case, stays, ready) in [
        ("nothing stays", None, "True"),
        ("a workload of each cell", Some(own), "Unknown"),
        ("a StatefulSet", Some(row(3, "east", "StatefulSet", 1)), "Unknown"),
        ("a DaemonSet", Some(daemon), "Unknown"),
        ("a DaemonSet that leaves", Some(leaves), "True"),
    ] {
        let rows: Vec<PlacementRow> =
            [left.clone(), row(2, "west", "Deployment", 2)].into_iter().chain(stays).collect();
        let known = rows.iter().map(well).collect();
        let status = show_seen(&rows, known, 2, &owned(&owners, 2), &["west"]);
        let (found, reason, message) = ready_of(&status);
        assert_eq!(found, ready, "{case}: {reason}: {message}");
        assert!(ready == "True" || reason == "Stale" && message.contains("silent: east"), "{case}: {message}");
    }
}
