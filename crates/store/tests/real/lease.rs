//! Tests of leases during open writes.

use std::time::Duration;

use sqlx::{Connection, PgConnection};
use store::{Keeper, LeaseTimes, Store};
use testbed::{Bed, eventually};

use crate::rows::claim;

const TIMES: LeaseTimes = LeaseTimes { lasts: Duration::from_secs(1), renew: Duration::from_millis(100) };

#[tokio::test]
async fn open_write_keeps_its_lease_and_does_not_block_other_leases() {
    let bed = Bed::builder().start().await.unwrap();
    let url = bed.postgres.url();
    let store = Store::open(&url, 2).unwrap();
    store.migrate().await.unwrap();
    let frozen = Keeper::start(&url, "frozen".to_owned(), TIMES).unwrap();
    let before = claim(&frozen, "leader").await;
    let mut write = PgConnection::connect(&url).await.unwrap();
    let mut open = write.begin().await.unwrap();
    sqlx::query("SELECT 1 FROM lease WHERE name = 'leader' FOR KEY SHARE").execute(&mut *open).await.unwrap();

    // Renewal continues during the write: the lease now expires more than one duration after its first expiry.
    let ends = "SELECT extract(epoch FROM expires_at) FROM lease WHERE name = 'leader'";
    let end = || bed.postgres.query(ends).unwrap().parse::<f64>().unwrap();
    let first = end();
    eventually("it is renewed", TIMES.lasts * 10, async || {
        Ok((end() > first + TIMES.lasts.as_secs_f64()).then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(claim(&frozen, "leader").await, before);

    // Then no process renews the lease, and the other keeper wants it beside its own.
    frozen.leave("leader");
    let other = Keeper::start(&url, "other".to_owned(), TIMES).unwrap();
    let own = claim(&other, "deliver/east").await;
    let (mut leads, mut delivers) = (other.want("leader"), other.want("deliver/east"));
    let lost = tokio::time::timeout(TIMES.lasts * 3, delivers.end_of(&own));
    assert!(lost.await.is_err(), "its own lease goes on");
    assert_eq!(claim(&other, "deliver/east").await, own);
    assert!(leads.current().is_none(), "a write under the old claim is open");

    open.commit().await.unwrap();
    let after = tokio::time::timeout(TIMES.lasts, leads.begin()).await.unwrap().unwrap();
    assert_eq!(after.epoch, before.epoch + 1);

    drop(leads);
    store.close().await;
    frozen.release().await;
    other.release().await;
}
