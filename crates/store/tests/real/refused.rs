//! Tests that permanent refusals of the database are distinguished from passing ones.

use serde_json::json;
use store::{Claim, ClusterTaken, Keeper, LeaseTimes, Store};
use testbed::Bed;

use crate::rows::{claim, cluster};

#[tokio::test]
async fn permanent_refusals_are_distinguished_from_passing_ones() {
    let bed = Bed::builder().start().await.unwrap();
    let store = Store::open(&bed.postgres.url(), 2).unwrap();
    store.migrate().await.unwrap();
    let keeper = Keeper::start(&bed.postgres.url(), "test".to_owned(), LeaseTimes::default()).unwrap();
    let leader = claim(&keeper, "leader").await;
    let refuses = async |claim: &Claim, taken: &ClusterTaken| {
        store.cluster_take(claim, taken).await.is_err_and(|error| error.refuses_content())
    };

    let in_json = ClusterTaken { labels: json!({"a": "\0"}), ..cluster("json") };
    assert!(refuses(&leader, &in_json).await);
    let in_text = ClusterTaken { object_uid: "\0".to_owned(), ..cluster("text") };
    assert!(refuses(&leader, &in_text).await);
    let late = Claim { epoch: leader.epoch + 1, ..leader.clone() };
    assert!(!refuses(&late, &cluster("late")).await, "another may hold the lease, and take it");
    store.cluster_take(&leader, &cluster("first")).await.unwrap();
    let same = ClusterTaken { member_uid: cluster("first").member_uid, ..cluster("second") };
    assert!(store.cluster_take(&leader, &same).await.is_err());
    assert!(!refuses(&leader, &same).await, "the other may go");
    store.close().await;
    keeper.release().await;
}
