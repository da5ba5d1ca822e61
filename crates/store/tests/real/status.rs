//! Tests of writing status of many members with one statement.

use jiff::Timestamp;
use store::seal::EnvelopeKey;

use store::{Claim, Keeper, LeaseTimes, ObjectState, StatusRow, Store};
use testbed::Bed;

use crate::rows::{application, claim, cluster, decide, deployment};

#[tokio::test]
async fn status_is_written_for_held_claims_only_and_takes_any_text() {
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
    let app = store.application_take(&leader, &application("web"), &key).await.unwrap();
    let mut placed =
        decide(&store, &leader, app, |decision| decision.inserts = clusters.map(deployment).into()).await.touched;
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
    let messages: Vec<_> = written.iter().map(|row| (row.placement, row.message.as_deref())).collect();
    assert_eq!(messages, [(id("east"), Some("quotaexceeded"))]);

    store.close().await;
    keeper.release().await;
}
