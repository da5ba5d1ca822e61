//! Tests of what counts as replicas in a place.

use store::seal::EnvelopeKey;
use store::{Keeper, LeaseTimes, Store};
use testbed::Bed;

use crate::rows::{application, claim, cluster, decide, deployment};

#[tokio::test]
async fn objects_that_are_deleted_count_until_their_pods_have_gone() {
    let bed = Bed::builder().start().await.unwrap();
    let store = Store::open(&bed.postgres.url(), 4).unwrap();
    store.migrate().await.unwrap();
    let keeper = Keeper::start(&bed.postgres.url(), "test".to_owned(), LeaseTimes::default()).unwrap();
    let key = EnvelopeKey::from_hex(&"5a".repeat(32)).unwrap();
    let claim = claim(&keeper, "leader").await;
    store.cluster_take(&claim, &cluster("east")).await.unwrap();
    let app = store.application_take(&claim, &application("web"), &key).await.unwrap();
    decide(&store, &claim, app, |decision| decision.inserts = vec![deployment("east")]).await;
    let sql = |statement: &str| drop(bed.postgres.query(statement).unwrap());
    for (case, change, status, expected) in [
        ("decided and not there yet", "wish = 'Present', target = 3, floor = 0", None, 3),
        ("a floor holds more", "wish = 'Present', target = 0, floor = 2", Some(1), 2),
        ("lowered, and still running", "wish = 'Present', target = 0, floor = 0", Some(2), 2),
        ("being deleted, and still running", "wish = 'Delete', target = 0, floor = 0", Some(1), 1),
        ("being deleted, and empty", "wish = 'Delete', target = 0, floor = 0", Some(0), 0),
        ("let go", "wish = 'Orphan', target = 3, floor = 3", Some(3), 0),
    ] {
        sql(&format!("update placement set divided = true, surge = 0, {change}"));
        sql("delete from placement_status");
        if let Some(replicas) = status {
            sql(&format!(
                "insert into placement_status (placement, state, replicas) select id, 'Applied', {replicas} from placement"
            ));
        }
        let found = store.resident_list(&["east".to_owned()]).await.unwrap();
        assert_eq!(found.iter().map(|row| row.replicas).sum::<i64>(), expected, "{case}");
        assert_eq!(store.resident_of(&application("web").key).await.unwrap(), found, "{case}");
    }
}
