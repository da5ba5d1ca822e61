//! Tests of reservations so large that no cluster has them, as an older version stored them.

use store::seal::EnvelopeKey;
use store::{Keeper, LeaseTimes, Removal, ReservationRow, Store};
use testbed::Bed;

use crate::rows::{application, claim, cluster, decide};

#[tokio::test]
async fn huge_reservation_keeps_no_other_application_from_being_read() {
    let bed = Bed::builder().start().await.unwrap();
    let store = Store::open(&bed.postgres.url(), 2).unwrap();
    store.migrate().await.unwrap();
    let keeper = Keeper::start(&bed.postgres.url(), "test".to_owned(), LeaseTimes::default()).unwrap();
    let leader = claim(&keeper, "leader").await;
    let key = EnvelopeKey::from_hex(&"5a".repeat(32)).unwrap();
    store.cluster_take(&leader, &cluster("east")).await.unwrap();
    let held = |amount| {
        Some(vec![ReservationRow {
            cluster: "east".to_owned(),
            zone: "a".to_owned(),
            cpu_milli: amount,
            memory_mi: amount,
            pods: 1,
        }])
    };
    let small = store.application_take(&leader, &application("small"), &key).await.unwrap();
    let huge = store.application_take(&leader, &application("huge"), &key).await.unwrap();
    decide(&store, &leader, small, |decision| decision.reservations = held(1)).await;
    decide(&store, &leader, huge, |decision| decision.reservations = held(i64::MAX)).await;

    let sums = store.reservation_sums().await.unwrap().sums;
    assert_eq!((sums[0].cpu_milli, sums[0].memory_mi, sums[0].pods), (i64::MAX, i64::MAX, 2));
    // Removing the application with the huge reservation is a decision too.
    store.application_remove(&leader, huge, Removal::Delete, None).await.unwrap();
    decide(&store, &leader, huge, |decision| decision.reservations = Some(Vec::new())).await;
    assert!(store.application_forget(&leader, huge).await.unwrap());
    assert_eq!(store.reservation_sums().await.unwrap().sums[0].cpu_milli, 1);

    store.close().await;
    keeper.release().await;
}
