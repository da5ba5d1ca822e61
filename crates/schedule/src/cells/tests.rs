//! Tests of which cells get a new revision or new inputs, and when.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use store::{ApplicationRow, Bookings, ClusterRow, ClusterStatusRow, ClusterTaken, ObjectState, StatusRow};
use vocabulary::{AppKey, CellInputs, ObjectKey, PlaceInputs, ZoneSpread};

use super::*;
use crate::fleet_snapshot::FleetRows;
use crate::gather::AppRows;

const CLUSTERS: [&str; 2] = ["east", "west"];

/// Returns two healthy clusters over two zones each, with these labels.
fn snapshot(labels: &Value) -> FleetSnapshot {
    let cluster = |name: &&str| ClusterRow {
        taken: ClusterTaken {
            name: (*name).to_owned(),
            object_uid: "o".to_owned(),
            member_uid: (*name).to_owned(),
            generation: 1,
            labels: labels.clone(),
            spec: json!({"region": name, "zones": ["a", "b"], "uid": name, "connection": {"server": "https://m:6443"}}),
            removal: None,
            gone: false,
            resource_version: None,
        },
        status: Some(ClusterStatusRow {
            health: Verdict::Pass,
            as_of: Some(Timestamp::UNIX_EPOCH),
            ..ClusterStatusRow::unknown()
        }),
    };
    let rows = FleetRows {
        clusters: CLUSTERS.iter().map(cluster).collect(),
        cells: Vec::new(),
        directives: Vec::new(),
        bookings: Bookings::default(),
        breaker: None,
    };
    FleetSnapshot::of(rows, Timestamp::UNIX_EPOCH, SignedDuration::from_secs(60)).0
}

/// Returns an application in both clusters, with the given inputs and settled state in each.
///
/// An override rule changes the application in cells of tier gold.
fn application(current: [(CellInputs, bool); 2]) -> (AppSnapshot, Arc<StoredRevision>) {
    let key = AppKey { namespace: "shop".to_owned(), name: "web".to_owned() };
    let body = json!({"components": [{"name": "web", "template": {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {
            "selector": {"matchLabels": {"app": "web"}}, "template": {"metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": "i:1"}]}}}}}], "overrides": [{"cells": {"matchLabels": {"tier": "gold"}},
            "patches": [{"component": "web", "image": "i:gold"}]}]});
    let parsed = Arc::new(StoredRevision::parse(&key, body.to_string().as_bytes()).unwrap());
    let revision = parsed.blueprint.revision;
    let spread: Value = json!({"spread": [{"topology": "Zone", "maxSkew": 1}]});
    let intent = json!({"replicas": 4, "suspended": false, "placement": spread, "drift": "Report", "adopt": "Never"});
    let places = || CLUSTERS.iter().zip(current.clone()).zip(1..);
    let row = |((cluster, (inputs, _)), id): ((&&str, (CellInputs, bool)), i64)| PlacementRow {
        id: id.into(),
        app: 1.into(),
        component: "web".to_owned(),
        cell: (*cluster).to_owned(),
        slot: Slot::Main,
        cluster: (*cluster).to_owned(),
        object: ObjectKey {
            api_version: "apps/v1".to_owned(),
            kind: "Deployment".to_owned(),
            namespace: "shop".to_owned(),
            name: "web".to_owned(),
        },
        rank: 50,
        divided: true,
        target: 2,
        floor: 0,
        surge: 0,
        plan_epoch: 3,
        revision,
        inputs: Some(inputs),
        desired_state: DesiredState::Present,
    };
    let status = |((_, (_, settled)), id): ((&&str, (CellInputs, bool)), i64)| StatusRow {
        state: ObjectState::Applied,
        applied_epoch: 3,
        observed_epoch: 3,
        applied_revision: Some(revision),
        available: 2,
        settled,
        ..StatusRow::unknown(id.into(), Timestamp::UNIX_EPOCH)
    };
    // Objects that exist once per cluster have the same inputs.
    let place = |cell: CellInputs| PlaceInputs { cluster: CellInputs { zone_spread: None, ..cell.clone() }, cell };
    let cell = |(cluster, (inputs, _)): (&&str, (CellInputs, bool))| CellDecisionRow {
        cell: (*cluster).to_owned(),
        slot: Slot::Main,
        target: 2,
        revision,
        inputs: Some(place(inputs)),
        inputs_wanted: None,
    };
    let application = ApplicationRow {
        id: 1.into(),
        acceptances: 0,
        key,
        hub_uid: String::new(),
        object_uid: String::new(),
        generation: 1,
        spec_hash: revision,
        intent,
        revision,
        removal: None,
        removal_since: None,
        delete_confirmed: None,
        rebalance_asked: None,
        rebalance_done: None,
        input_hash: None,
        decision: None,
        decided_at: None,
        decided_generation: 1,
        decision_version: 1,
    };
    let facts = AppSnapshot::of(AppRows {
        application,
        cells: CLUSTERS.iter().zip(current.clone()).map(cell).collect(),
        placements: places().map(row).collect(),
        status: places().map(status).collect(),
        reservations: Vec::new(),
        revisions: [(revision, Arc::clone(&parsed))].into(),
    });
    (facts.unwrap(), parsed)
}

fn spread(zone_spread: Option<ZoneSpread>) -> CellInputs {
    CellInputs { zone_spread, ..CellInputs::default() }
}

fn targets() -> BTreeMap<CellName, i32> {
    CLUSTERS.map(|name| (name.parse::<CellName>().unwrap(), 2)).into()
}

#[test]
fn a_spread_over_zones_goes_cell_by_cell() {
    const STRICT: Option<ZoneSpread> = Some(ZoneSpread::Strict);
    let snapshot = snapshot(&json!({}));
    for (case, current, expected) in [
        ("both run without", [(None, true), (None, true)], [STRICT, None]),
        ("the first is not worked out", [(STRICT, false), (None, true)], [STRICT, None]),
        ("the first is ready", [(STRICT, true), (None, true)], [STRICT, STRICT]),
        ("another strictness", [(Some(ZoneSpread::Preferred), true), (STRICT, true)], [STRICT, STRICT]),
    ] {
        let (facts, wanted) = application(current.map(|(zone_spread, settled)| (spread(zone_spread), settled)));
        let cells = plan_cells(&snapshot, &facts, &wanted, &targets());
        assert_eq!(CLUSTERS.map(|name| cells[name].inputs.current.cell.zone_spread), expected, "{case}");
        assert_eq!(CLUSTERS.map(|name| cells[name].inputs.wanted.cell.zone_spread), [STRICT, STRICT], "{case}");
    }
}

#[test]
fn labels_of_many_cells_reach_their_objects_cell_by_cell() {
    let snapshot = snapshot(&json!({"tier": "gold"}));
    let inputs = |rules: &[usize]| CellInputs { overrides: rules.to_vec(), ..spread(Some(ZoneSpread::Strict)) };
    for (case, current, expected) in [
        ("both run without", [(inputs(&[]), true), (inputs(&[]), true)], [&[0][..], &[]]),
        ("the first is not worked out", [(inputs(&[0]), false), (inputs(&[]), true)], [&[0], &[]]),
        ("the first is ready", [(inputs(&[0]), true), (inputs(&[]), true)], [&[0], &[0]]),
    ] {
        let (facts, wanted) = application(current);
        let cells = plan_cells(&snapshot, &facts, &wanted, &targets());
        let places = CLUSTERS.map(|name| &cells[name].inputs.current);
        assert_eq!(places.map(|place| place.cell.overrides.as_slice()), expected, "{case}");
        assert_eq!(places.map(|place| place.cluster.overrides.as_slice()), expected, "{case}");
        assert!(!is_ready(&snapshot, &facts, &cells), "{case}");
    }
}

#[test]
fn a_new_cell_is_told_at_once_what_it_is() {
    let (mut facts, wanted) = application([(CellInputs::default(), false), (CellInputs::default(), false)]);
    facts.cells.clear();
    let cells = plan_cells(&snapshot(&json!({"tier": "gold"})), &facts, &wanted, &targets());
    let now = CellInputs { overrides: vec![0], ..spread(Some(ZoneSpread::Strict)) };
    assert_eq!(CLUSTERS.map(|name| cells[name].inputs.current.cell.clone()), [now.clone(), now]);
}

#[test]
fn new_cell_takes_the_revision_that_is_not_being_released() {
    for released in CLUSTERS {
        let (mut facts, _) = application([(CellInputs::default(), true), (CellInputs::default(), true)]);
        facts.intent.release = Some(serde_json::from_value(json!({})).unwrap());
        let old = ContentHash::of(b"old");
        facts.cells.iter_mut().filter(|(cell, _)| cell.as_str() != released).for_each(|(_, held)| held.revision = old);
        let releases = Releases::of(&snapshot(&json!({})), &facts);
        assert_eq!(releases.main_of(&"north".parse().unwrap(), None), old, "{released} has the released one");
    }
}

#[test]
fn a_cell_of_which_an_older_program_decided_was_told_what_it_is() {
    let (mut facts, wanted) = application([(CellInputs::default(), true), (CellInputs::default(), true)]);
    for held in facts.cells.values_mut() {
        held.inputs = None;
    }
    let cells = plan_cells(&snapshot(&json!({"tier": "gold"})), &facts, &wanted, &targets());
    assert!(cells.values().all(|plan| plan.is_current(facts.wanted)), "{cells:?}");
}
