//! Status of many members in one statement, against a real database.

#![allow(clippy::unwrap_used, reason = "a test")]

use jiff::Timestamp;
use serde_json::json;
use store::seal::EnvelopeKey;
use store::{
    ApplicationTaken, Claim, ClusterTaken, DecisionRow, Keeper, LeaseTimes, ObjectState, PlacementInsert, StatusRow,
    Store,
};
use testbed::Bed;
use vocabulary::{AppKey, ObjectKey};

async fn claim(keeper: &Keeper, lease: &str) -> Claim {
    let mut terms = keeper.want(lease);
    let term = terms.wait_for(Option::is_some).await.unwrap();
    term.as_ref().unwrap().claim.clone()
}

fn cluster(name: &str) -> ClusterTaken {
    ClusterTaken {
        name: name.to_owned(),
        object_uid: format!("object-{name}"),
        member_uid: format!("member-{name}"),
        generation: 1,
        labels: json!({}),
        spec: json!({}),
        removal: None,
    }
}

fn application() -> ApplicationTaken {
    ApplicationTaken {
        key: AppKey { namespace: "shop".to_owned(), name: "web".to_owned() },
        hub_uid: "hub".to_owned(),
        object_uid: "object".to_owned(),
        generation: 1,
        spec_hash: vec![1],
        intent: json!({}),
        revision: vec![2],
        payload: b"{}".to_vec(),
        secret: false,
        rebalance_asked: None,
        delete_confirmed: None,
    }
}

fn deployment(cluster: &str) -> PlacementInsert {
    PlacementInsert {
        component: "web".to_owned(),
        cell: cluster.to_owned(),
        cluster: cluster.to_owned(),
        object: ObjectKey {
            api_version: "apps/v1".to_owned(),
            kind: "Deployment".to_owned(),
            namespace: "shop".to_owned(),
            name: "web".to_owned(),
        },
        rank: 0,
        divided: true,
        target: 1,
        revision: vec![2],
    }
}

#[tokio::test]
async fn status_is_written_for_claims_that_hold_and_for_no_other_and_takes_any_text() {
    let bed = Bed::builder().start().await.unwrap();
    let store = Store::open(&bed.postgres.url(), 4).unwrap();
    store.migrate().await.unwrap();
    let keeper = Keeper::start(&bed.postgres.url(), "test".to_owned(), LeaseTimes::default()).unwrap();
    let leader = claim(&keeper, "leader").await;
    let held = claim(&keeper, "deliver/east").await;
    let lost = Claim { epoch: 41, ..claim(&keeper, "deliver/west").await };
    let unknown = Claim { lease: "deliver/south".to_owned(), epoch: 1 };
    let clusters = ["east", "west", "south"];
    for name in clusters {
        store.cluster_take(&leader, &cluster(name)).await.unwrap();
    }
    let key = EnvelopeKey::from_hex(&"5a".repeat(32)).unwrap();
    let app = store.application_take(&leader, &application(), &key).await.unwrap();
    let decision = DecisionRow {
        app,
        decided: None,
        generation: Some(1),
        rebalance_done: None,
        inserts: clusters.map(deployment).into(),
        changes: Vec::new(),
        forget: Vec::new(),
        deletes: Vec::new(),
        reservations: None,
    };
    let mut placed = store.decision_commit(&leader, &[decision]).await.unwrap();
    placed.sort();
    let id = |name: &str| placed.iter().find(|(cluster, _)| cluster == name).unwrap().1;
    let status = |name: &str| StatusRow {
        state: ObjectState::Applied,
        message: Some("quota\0exceeded".to_owned()),
        applied_epoch: 1,
        ..StatusRow::unknown(id(name), Timestamp::now())
    };

    let (east, west, south) = (status("east"), status("west"), status("south"));
    let refused = store.status_set(&[(&lost, &west), (&held, &east), (&unknown, &south)]).await.unwrap();
    assert_eq!(refused, [unknown, lost], "by the order of their names");
    let written = store.status_list(&[app]).await.unwrap();
    let told: Vec<_> = written.iter().map(|row| (row.placement, row.message.as_deref())).collect();
    assert_eq!(told, [(id("east"), Some("quotaexceeded"))]);

    store.close().await;
    keeper.release().await;
}
