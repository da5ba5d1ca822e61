//! Tests of credentials and their connections.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use store::seal::{EnvelopeKey, SealError};
use store::{ConnectionText, Credential, Keeper, LeaseTimes, Store, StoreError};
use testbed::Bed;

use crate::rows::{claim, cluster};

fn connection(server: &str) -> ConnectionText {
    ConnectionText(format!(r#"{{"server":"{server}"}}"#))
}

fn credential(token: &str, issued_at: Timestamp) -> Credential {
    let expires_at = issued_at + SignedDuration::from_hours(24);
    Credential { token: SecretString::from(token), issued_at, expires_at }
}

#[tokio::test]
async fn credential_opens_only_for_its_connection_hand_over_is_kept() {
    let bed = Bed::builder().start().await.unwrap();
    let store = Store::open(&bed.postgres.url(), 2).unwrap();
    store.migrate().await.unwrap();
    let keeper = Keeper::start(&bed.postgres.url(), "test".to_owned(), LeaseTimes::default()).unwrap();
    let leader = claim(&keeper, "leader").await;
    let key = EnvelopeKey::from_hex(&"5a".repeat(32)).unwrap();
    let open = async |server: &str| {
        let wanted = HashMap::from([("east", connection(server))]);
        let found = store.credential_get_many(&wanted, &key).await.unwrap().remove("east").unwrap();
        found.map(|credential| credential.token.expose_secret().to_owned())
    };
    let (own, other) = ("https://east:6443", "https://elsewhere:6443");
    let now = Timestamp::now();
    let set = store.credential_set(&leader, "east", &connection(own), &credential("first", now), &key).await;
    assert!(matches!(set, Err(StoreError::Refused(_))), "a hand-over without its cluster is told: {set:?}");
    store.cluster_take(&leader, &cluster("east")).await.unwrap();
    store.credential_set(&leader, "east", &connection(own), &credential("first", now), &key).await.unwrap();

    assert_eq!(open(own).await.unwrap(), "first");
    assert!(matches!(open(other).await, Err(StoreError::Seal(SealError::DoesNotOpen(_)))));

    // A user hands over another credential, from a machine whose clock is behind, during a renewal.
    let due = store.credential_lives().await.unwrap().remove(0);
    let handed_over = credential("second", now - SignedDuration::from_hours(1));
    store.credential_set(&leader, "east", &connection(own), &handed_over, &key).await.unwrap();
    assert_eq!(open(own).await.unwrap(), "second");
    let renewed = credential("renewed", now + SignedDuration::from_mins(1));
    assert!(!store.credential_renew(&leader, &due, &connection(own), &renewed, &key).await.unwrap());
    assert_eq!(open(own).await.unwrap(), "second", "the renewal of the one before is dropped");
    let due = store.credential_lives().await.unwrap().remove(0);
    assert!(store.credential_renew(&leader, &due, &connection(own), &renewed, &key).await.unwrap());
    assert_eq!(open(own).await.unwrap(), "renewed");

    store.close().await;
    keeper.release().await;
}
