//! Which cells are told what, and when.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use store::{ApplicationRow, Bookings, ClusterRow, ClusterStatusRow, ClusterTaken, ObjectState, StatusRow};
use vocabulary::{AppKey, ObjectKey};

use super::*;
use crate::gather::AppRows;
use crate::world::FleetRows;

const CLUSTERS: [&str; 2] = ["east", "west"];

/// Two clusters over two zones each, both well.
fn world() -> World {
    let cluster = |name: &&str| ClusterRow {
        taken: ClusterTaken {
            name: (*name).to_owned(),
            object_uid: "o".to_owned(),
            member_uid: (*name).to_owned(),
            generation: 1,
            labels: json!({}),
            spec: json!({"region": name, "zones": ["a", "b"], "uid": name, "connection": {"server": "https://m:6443"}}),
            removal: None,
            gone: false,
            resource_version: None,
        },
        status: Some(ClusterStatusRow {
            health: "Pass".to_owned(),
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
    World::of(rows, Timestamp::UNIX_EPOCH, SignedDuration::from_secs(60)).0
}

/// An application that runs in both clusters, told as given and worked out or not.
fn application(told: [(Option<ZoneSpread>, bool); 2]) -> (AppFacts, Arc<StoredRevision>) {
    let key = AppKey { namespace: "shop".to_owned(), name: "web".to_owned() };
    let body = json!({"components": [{"name": "web", "template": {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {
            "selector": {"matchLabels": {"app": "web"}}, "template": {"metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": "i:1"}]}}}}}], "overrides": []});
    let parsed = Arc::new(StoredRevision::parse(&key, body.to_string().as_bytes()).unwrap());
    let revision = parsed.blueprint.revision;
    let spread: Value = json!({"spread": [{"topology": "Zone", "maxSkew": 1}]});
    let intent = json!({"replicas": 4, "suspended": false, "placement": spread, "drift": "Report", "adopt": "Never"});
    let bytes = revision.as_bytes().to_vec();
    let places = || CLUSTERS.iter().zip(told).zip(1..);
    let row = |((cluster, (zone_spread, _)), id): ((&&str, (Option<ZoneSpread>, bool)), i64)| PlacementRow {
        id,
        app: 1,
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
        revision: bytes.clone(),
        zone_spread,
        wish: Wish::Present,
    };
    let status = |((_, (_, settled)), id): ((&&str, (Option<ZoneSpread>, bool)), i64)| StatusRow {
        state: ObjectState::Applied,
        applied_epoch: 3,
        observed_epoch: 3,
        applied_revision: Some(bytes.clone()),
        available: 2,
        settled,
        ..StatusRow::unknown(id, Timestamp::UNIX_EPOCH)
    };
    let cell = |(cluster, (zone_spread, _)): (&&str, (Option<ZoneSpread>, bool))| CellDecisionRow {
        cell: (*cluster).to_owned(),
        slot: Slot::Main,
        target: 2,
        revision: bytes.clone(),
        zone_spread,
        zone_spread_wanted: None,
    };
    let application = ApplicationRow {
        id: 1,
        acceptances: 0,
        key,
        hub_uid: String::new(),
        object_uid: String::new(),
        generation: 1,
        spec_hash: Vec::new(),
        intent,
        revision: bytes.clone(),
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
    let facts = AppFacts::of(AppRows {
        application,
        cells: CLUSTERS.iter().zip(told).map(cell).collect(),
        placements: places().map(row).collect(),
        status: places().map(status).collect(),
        reservations: Vec::new(),
        revisions: [(revision, Arc::clone(&parsed))].into(),
    });
    (facts.unwrap(), parsed)
}

#[test]
fn a_spread_over_zones_goes_cell_by_cell() {
    const STRICT: Option<ZoneSpread> = Some(ZoneSpread::Strict);
    let world = world();
    let targets = CLUSTERS.map(|name| (name.parse::<CellName>().unwrap(), 2)).into();
    for (case, told, expected) in [
        ("both run without", [(None, true), (None, true)], [STRICT, None]),
        ("the first is not worked out", [(STRICT, false), (None, true)], [STRICT, None]),
        ("the first is ready", [(STRICT, true), (None, true)], [STRICT, STRICT]),
        ("another strictness", [(Some(ZoneSpread::Preferred), true), (STRICT, true)], [STRICT, STRICT]),
    ] {
        let (facts, wanted) = application(told);
        let cells = plan_cells(&world, &facts, &wanted, &targets);
        assert_eq!(CLUSTERS.map(|name| cells[name].zones.told), expected, "{case}");
        assert_eq!(CLUSTERS.map(|name| cells[name].zones.wanted), [STRICT, STRICT], "{case}");
    }
}

#[test]
fn a_new_cell_is_spread_over_its_zones_at_once() {
    let (mut facts, wanted) = application([(None, false), (None, false)]);
    facts.cells.clear();
    let targets = CLUSTERS.map(|name| (name.parse::<CellName>().unwrap(), 2)).into();
    let cells = plan_cells(&world(), &facts, &wanted, &targets);
    assert_eq!(CLUSTERS.map(|name| cells[name].zones.told), [Some(ZoneSpread::Strict); 2]);
}
