//! Tests of deleting applications.

use store::seal::EnvelopeKey;

use store::{ApplicationTaken, Keeper, LeaseTimes, Removal, Store};
use testbed::Bed;
use vocabulary::ContentHash;

use crate::rows::{application, claim, cluster, decide, deployment};

#[tokio::test]
async fn unplaced_application_is_forgotten_and_keeps_shared_payload() {
    let bed = Bed::builder().start().await.unwrap();
    let store = Store::open(&bed.postgres.url(), 2).unwrap();
    store.migrate().await.unwrap();
    let keeper = Keeper::start(&bed.postgres.url(), "test".to_owned(), LeaseTimes::default()).unwrap();
    let leader = claim(&keeper, "leader").await;
    let key = EnvelopeKey::from_hex(&"5a".repeat(32)).unwrap();
    store.cluster_take(&leader, &cluster("east")).await.unwrap();
    let mut own = application("web");
    let web = store.application_take(&leader, &own, &key).await.unwrap();
    own.payload = b"{\"components\":[]}".to_vec();
    own.revision = ContentHash::of(&own.payload);
    assert_eq!(store.application_take(&leader, &own, &key).await.unwrap(), web);
    let twin = store.application_take(&leader, &application("twin"), &key).await.unwrap();
    let payloads = || bed.postgres.query("SELECT count(*) FROM payload").unwrap();
    assert_eq!(payloads(), "2", "what is the same is kept once");

    assert!(!store.application_forget(&leader, web).await.unwrap(), "nobody deleted it");
    let committed = decide(&store, &leader, web, |decision| decision.inserts = vec![deployment("east")]).await;
    let placement = committed.touched[0].1;
    store.application_remove(&leader, web, Removal::Delete, None).await.unwrap();
    assert!(!store.application_forget(&leader, web).await.unwrap(), "something of it is placed");
    decide(&store, &leader, web, |decision| decision.forget = vec![placement]).await;
    assert!(store.application_forget(&leader, web).await.unwrap());
    assert!(!store.application_forget(&leader, web).await.unwrap(), "it is gone already");
    assert_eq!(payloads(), "1", "the other one has its own still");
    let left = store.payload_of_revision(twin, ContentHash::of(b"{}"), &key).await.unwrap();
    assert_eq!(left.as_deref(), Some(b"{}".as_slice()));

    store.close().await;
    keeper.release().await;
}

#[tokio::test]
async fn objects_of_forgotten_applications_are_kept_90_days() {
    let bed = Bed::builder().start().await.unwrap();
    let store = Store::open(&bed.postgres.url(), 2).unwrap();
    store.migrate().await.unwrap();
    let keeper = Keeper::start(&bed.postgres.url(), "test".to_owned(), LeaseTimes::default()).unwrap();
    let leader = claim(&keeper, "leader").await;
    let key = EnvelopeKey::from_hex(&"5a".repeat(32)).unwrap();
    let forget = async |object_uid: &str, accepted: bool| {
        let taken = ApplicationTaken { object_uid: object_uid.to_owned(), accepted, ..application("web") };
        let id = store.application_take(&leader, &taken, &key).await.unwrap();
        let acceptances = store.application_get(&taken.key).await.unwrap().unwrap().acceptances;
        assert_eq!(acceptances, i64::from(accepted), "{object_uid}");
        store.application_remove(&leader, id, Removal::Delete, None).await.unwrap();
        assert!(store.application_forget(&leader, id).await.unwrap());
    };
    let kept = async |object_uid: &str| store.forgotten_application_at(object_uid).await.unwrap();

    forget("first", false).await;
    forget("second", false).await;
    let deleted = kept("first").await.unwrap();
    assert!(kept("second").await.is_some() && kept("other").await.is_none());
    // A user accepts the application again, and deletes it again.
    forget("first", true).await;
    assert!(kept("first").await.unwrap() > deleted, "the last deletion counts");

    bed.postgres.query("UPDATE forgotten_application SET forgotten_at = now() - interval '89 days'").unwrap();
    forget("third", false).await;
    assert!(kept("first").await.is_some() && kept("second").await.is_some(), "backups may be that old");
    bed.postgres.query("UPDATE forgotten_application SET forgotten_at = now() - interval '91 days'").unwrap();
    // The row of an object that is deleted again is renewed by the statement that prunes the others.
    forget("first", false).await;
    assert!(kept("first").await.is_some() && kept("second").await.is_none() && kept("third").await.is_none());

    store.close().await;
    keeper.release().await;
}
