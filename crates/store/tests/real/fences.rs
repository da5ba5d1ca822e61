//! Tests of the fence of a recreated row: it rises above the fence found in the member.

use jiff::Timestamp;
use store::seal::EnvelopeKey;
use store::{Keeper, LeaseTimes, PlacementChange, Removal, StatusRow, Store};
use testbed::Bed;

use crate::rows::{application, claim, cluster, decide, deployment};

#[tokio::test]
async fn plan_rises_above_found_fence_authority_outlives_cluster() {
    let bed = Bed::builder().start().await.unwrap();
    let store = Store::open(&bed.postgres.url(), 4).unwrap();
    store.migrate().await.unwrap();
    let keeper = Keeper::start(&bed.postgres.url(), "test".to_owned(), LeaseTimes::default()).unwrap();
    let leader = claim(&keeper, "leader").await;
    let held = claim(&keeper, "deliver/east").await;
    store.cluster_take(&leader, &cluster("east")).await.unwrap();
    let key = EnvelopeKey::from_hex(&"5a".repeat(32)).unwrap();
    let app = store.application_take(&leader, &application("web"), &key).await.unwrap();
    decide(&store, &leader, app, |decision| decision.inserts = vec![deployment("east")]).await;
    let row = || async { store.placement_list(&[app]).await.unwrap().remove(0) };

    // Without status, the epoch rises by one. A found fence raises the epoch above it. Beyond the fence, it rises by
    // one again.
    for (found, expected) in [(None, 2), (Some(9), 10), (Some(9), 11), (Some(0), 12)] {
        if let Some(found_epoch) = found {
            let status = StatusRow { found_epoch, ..StatusRow::unknown(row().await.id, Timestamp::now()) };
            store.status_set(&[(&held, &status)]).await.unwrap();
            assert_eq!(store.status_list(&[app]).await.unwrap()[0].found_epoch, found_epoch);
        }
        let change = PlacementChange::of(&row().await);
        decide(&store, &leader, app, |decision| decision.changes = vec![change]).await;
        assert_eq!(row().await.plan_epoch, expected, "found: {found:?}");
    }

    // The member leaves for good and joins again. Its objects may carry the authority.
    bed.postgres.query("update cell set authority = 3 where name = 'east'").unwrap();
    let id = row().await.id;
    decide(&store, &leader, app, |decision| decision.forget = vec![id]).await;
    let mut leaving = cluster("east");
    leaving.removal = Some(Removal::Orphan);
    store.cluster_take(&leader, &leaving).await.unwrap();
    assert!(store.cluster_forget(&leader, "east").await.unwrap());
    store.cluster_take(&leader, &cluster("east")).await.unwrap();
    let cells = store.cell_list().await.unwrap();
    assert_eq!(cells.iter().map(|cell| (cell.name.as_str(), cell.authority)).collect::<Vec<_>>(), [("east", 3)]);

    store.close().await;
    keeper.release().await;
}
