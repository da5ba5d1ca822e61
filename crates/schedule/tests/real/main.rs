//! Tests of the schedule stage on a real database.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::sync::Arc;
use std::time::Duration;

use domain::stored_revision::StoredRevision;
use jiff::{SignedDuration, Timestamp};
use runtime::metrics::Metrics;
use schedule::{Schedule, ScheduleMetrics, ScheduleTimes};
use serde_json::json;
use store::seal::EnvelopeKey;
use store::{
    ApplicationTaken, Claim, ClusterStatusRow, ClusterTaken, Hint, Hints, Keeper, LeaseTimes, NewDirective,
    ParsedRevisions, Store,
};
use testbed::{Bed, eventually};
use tokio_util::sync::CancellationToken;
use vocabulary::{AppKey, Verdict};

/// Timeout for a decision. It is longer than a directive of the test lasts.
const SOON: Duration = Duration::from_secs(30);

fn cluster() -> (ClusterTaken, ClusterStatusRow) {
    let amounts = json!({"cpuMilli": 100_000, "memoryMi": 100_000, "pods": 1000});
    let none = json!({"cpuMilli": 0, "memoryMi": 0, "pods": 0});
    let zone = json!({"name": "a", "allocatable": amounts, "requested": none, "foreign": none, "reserved": none,
        "shapes": [{"free": amounts, "nodes": 1}]});
    let taken = ClusterTaken {
        name: "east".to_owned(),
        object_uid: "object".to_owned(),
        member_uid: "member".to_owned(),
        generation: 1,
        resource_version: None,
        labels: json!({}),
        spec: json!({"region": "r", "zones": ["a"], "uid": "member", "connection": {"server": "https://127.0.0.1:1"}}),
        removal: None,
        gone: false,
    };
    let status = ClusterStatusRow {
        health: Verdict::Pass,
        reason: "Ready".to_owned(),
        as_of: Some(Timestamp::now()),
        checked_at: Some(Timestamp::now()),
        kinds: json!(["apps/v1/Deployment"]),
        capacity: json!([zone]),
        ..ClusterStatusRow::unknown()
    };
    (taken, status)
}

fn application() -> ApplicationTaken {
    let key = AppKey { namespace: "shop".to_owned(), name: "web".to_owned() };
    let pod = json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}});
    let body = json!({"components": [{"name": "web", "template": {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": pod}}}], "overrides": []});
    let payload = body.to_string().into_bytes();
    let revision = StoredRevision::parse(&key, &payload).unwrap().blueprint.revision;
    ApplicationTaken {
        key,
        hub_uid: "hub".to_owned(),
        object_uid: "object".to_owned(),
        generation: 1,
        spec_hash: revision,
        intent: json!({"replicas": 4, "suspended": false, "placement": {}, "drift": "Report", "adopt": "Never"}),
        revision,
        payload,
        secret: false,
        divided_kind: Some("apps/v1/Deployment".to_owned()),
        rebalance_asked: None,
        delete_confirmed: None,
        accepted: false,
    }
}

fn cordon() -> NewDirective {
    NewDirective {
        owner: "operation".to_owned(),
        key: "cordon".to_owned(),
        scope: json!({"Cluster": {"cluster": "east"}}),
        effect: json!("Cordon"),
        app: None,
        reason: "new nodes".to_owned(),
        until: None,
    }
}

async fn claim(keeper: &Keeper) -> Claim {
    keeper.want("schedule").begin().await.unwrap()
}

/// The stage reads all applications once an hour here, so that only the end of the directive causes the decision.
#[tokio::test]
async fn directive_that_ends_by_itself_takes_effect_without_a_hint() {
    let bed = Bed::builder().start().await.unwrap();
    let store = Store::open(&bed.postgres.url(), 4).unwrap();
    store.migrate().await.unwrap();
    let keeper = Keeper::start(&bed.postgres.url(), "test".to_owned(), LeaseTimes::default()).unwrap();
    let leader = claim(&keeper).await;
    let key = Arc::new(EnvelopeKey::from_hex(&"5a".repeat(32)).unwrap());
    let (taken, status) = cluster();
    store.cluster_take(&leader, &taken).await.unwrap();
    store.cluster_status_set(&leader, &taken.name, &status).await.unwrap();
    store.directive_put(&leader, &[cordon()]).await.unwrap();
    let app = store.application_take(&leader, &application(), &key).await.unwrap();

    let shutdown = CancellationToken::new();
    let (hints, _exchange) = Hints::new(store.clone(), shutdown.clone());
    let times = ScheduleTimes {
        look_again: Duration::from_hours(1),
        stale_after: SignedDuration::from_hours(1),
        settle: Duration::from_secs(1),
        delete_window: SignedDuration::from_mins(10),
    };
    let revisions = Arc::new(ParsedRevisions::new(store.clone(), key));
    let metrics = ScheduleMetrics::new(&Metrics::default());
    let stage = Schedule::new(store.clone(), revisions, hints.clone(), leader.clone(), metrics, times);
    let work = tokio::spawn(stage.run(shutdown.clone()));
    let decided = async |expected: usize| {
        eventually("the decision", SOON, async || {
            let rows = store.placement_list(&[app]).await?;
            let row = store.application_list(&[app]).await?.remove(0);
            let is_expected = row.input_hash.is_some() && rows.len() == expected;
            anyhow::ensure!(is_expected, "{} rows, {:?}", rows.len(), row.decision);
            Ok(Some(()))
        })
        .await
        .unwrap();
    };
    // The cluster is cordoned: no replica has a place.
    decided(0).await;

    // The directive gets an end. Its hint causes a decision at once, and the end causes another one.
    let soon = Timestamp::now().checked_add(SignedDuration::from_secs(2)).unwrap();
    store.directive_put(&leader, &[NewDirective { until: Some(soon), ..cordon() }]).await.unwrap();
    hints.send(Hint::Directives(Some(app)));
    decided(1).await;
    assert!(Timestamp::now() >= soon, "the directive was in force until its end");

    shutdown.cancel();
    work.await.unwrap().unwrap();
    store.close().await;
    keeper.release().await;
}
