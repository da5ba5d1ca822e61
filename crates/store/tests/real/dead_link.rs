//! Tests in which the database runs and the link to it does not work.

use std::time::{Duration, Instant};

use store::{Deadlines, Keeper, LeaseTimes, Store, StoreError};
use testbed::{Bed, Link, LinkMode, eventually};

use crate::rows::{claim, cluster};

const LIMITS: Deadlines = Deadlines {
    connection: Duration::from_secs(3),
    answer: Duration::from_secs(1),
    commit: Duration::from_millis(500),
    cut_off: Duration::from_secs(5),
};
/// Maximum delay of a deadline on a busy machine.
const LATE: Duration = Duration::from_secs(2);

async fn linked(bed: &Bed) -> (Link, String) {
    let link = Link::to(bed.postgres.port()).await.unwrap();
    let url = bed.postgres.url().replace(&format!(":{}/", bed.postgres.port()), &format!(":{}/", link.port()));
    (link, url)
}

#[tokio::test]
async fn a_call_over_a_dead_connection_ends_and_others_work() {
    let bed = Bed::builder().start().await.unwrap();
    let direct = Store::open(&bed.postgres.url(), 1).unwrap();
    direct.migrate().await.unwrap();
    direct.close().await;
    let (link, url) = linked(&bed).await;
    let store = Store::open_with(&url, 4, LIMITS).unwrap();
    let ask = || async { tokio::join!(store.cluster_list(), store.cell_list(), store.directive_list(), store.check()) };
    let (first, second, third, fourth) = ask().await;
    assert!(first.is_ok() && second.is_ok() && third.is_ok() && fourth.is_ok(), "all connections are in use now");

    link.set(LinkMode::Forgotten);
    let begun = Instant::now();
    let (first, ..) = ask().await;
    assert!(matches!(first, Err(StoreError::Unavailable(_))), "{first:?}");
    assert!(begun.elapsed() < Duration::from_secs(3) + LATE, "the last took {:?}", begun.elapsed());
    for round in 0..3 {
        let begun = Instant::now();
        let (first, second, third, fourth) = ask().await;
        assert!(first.is_ok() && second.is_ok() && third.is_ok(), "round {round}: {first:?} {second:?} {third:?}");
        fourth.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(1) + LATE, "round {round} took {:?}", begun.elapsed());
    }
    // A caller that stops waiting leaves the pool unchanged.
    link.set(LinkMode::BlackHole);
    for _ in 0..8 {
        assert!(tokio::time::timeout(Duration::from_millis(50), store.cluster_list()).await.is_err());
    }
    link.set(LinkMode::Forgotten);
    store.cluster_list().await.unwrap();
    link.set(LinkMode::Cut);
    store.close().await;
    link.unused().await.unwrap();
}

#[tokio::test]
async fn a_commit_without_an_answer_is_unknown() {
    let bed = Bed::builder().start().await.unwrap();
    let store = Store::open_with(&bed.postgres.url(), 2, LIMITS).unwrap();
    store.migrate().await.unwrap();
    let long = LeaseTimes { lasts: Duration::from_secs(30), renew: Duration::from_secs(10) };
    let keeper = Keeper::start(&bed.postgres.url(), "test".to_owned(), long).unwrap();
    let leader = claim(&keeper, "leader").await;
    // Each commit waits for a standby that does not exist.
    bed.postgres.query("alter system set synchronous_standby_names = 'nobody'").unwrap();
    bed.postgres.query("select pg_reload_conf()").unwrap();
    eventually("commits wait", LATE * 2, async || {
        let standby = bed.postgres.query("show synchronous_standby_names").unwrap();
        Ok((standby == "nobody").then_some(()))
    })
    .await
    .unwrap();
    let begun = Instant::now();
    let outcome = store.cluster_take(&leader, &cluster("east")).await;
    assert!(matches!(outcome, Err(StoreError::Unknown { write: "cluster_take", .. })), "{outcome:?}");
    assert!(outcome.is_err_and(|error| !error.is_of_one()));
    assert!(begun.elapsed() < LIMITS.commit + LATE, "it took {:?}", begun.elapsed());

    bed.postgres.query("alter system reset synchronous_standby_names").unwrap();
    bed.postgres.query("select pg_reload_conf()").unwrap();
    eventually("it was committed after all", LATE * 2, async || Ok(store.cluster_get("east").await.unwrap().map(drop)))
        .await
        .unwrap();
    store.cluster_take(&leader, &cluster("east")).await.unwrap();
    store.close().await;
    keeper.release().await;
}

#[tokio::test]
async fn a_lease_ends_in_time_behind_a_dead_link_and_another_takes_it() {
    const TIMES: LeaseTimes = LeaseTimes { lasts: Duration::from_secs(2), renew: Duration::from_millis(400) };
    let bed = Bed::builder().start().await.unwrap();
    let store = Store::open(&bed.postgres.url(), 1).unwrap();
    store.migrate().await.unwrap();
    let (link, url) = linked(&bed).await;
    let cut = Keeper::start(&url, "same".to_owned(), TIMES).unwrap();
    let before = claim(&cut, "leader").await;
    let other = Keeper::start(&bed.postgres.url(), "same".to_owned(), TIMES).unwrap();
    let mut leads = other.want("leader");
    let shared = tokio::time::timeout(TIMES.lasts * 2, leads.begin()).await.is_ok();
    assert!(!shared, "a keeper of the same name is another one");

    let mut lost = cut.want("leader");
    link.set(LinkMode::BlackHole);
    let end = lost.current().unwrap().valid_until;
    tokio::time::timeout(TIMES.lasts * 2, lost.end_of(&before)).await.unwrap();
    let late = Instant::now().saturating_duration_since(end);
    assert!(late < TIMES.renew, "its end is told {late:?} late, not with the end of the renewal that hangs");
    let after = tokio::time::timeout(TIMES.lasts * 3, leads.begin()).await.unwrap().unwrap();
    assert_eq!(after.epoch, before.epoch + 1);
    drop((leads, lost));
    link.set(LinkMode::Cut);
    cut.release().await;
    other.release().await;
    store.close().await;
    link.unused().await.unwrap();
}
