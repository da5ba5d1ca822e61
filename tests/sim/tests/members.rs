//! Tests that a simulated member answers the calls of delivery like a real member.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;
use members::{ApiKind, ApplyOptions, Limits, Member, MemberConfig, MemberError, Preconditions, Selection, WatchEvent};
use secrecy::SecretString;
use serde_json::{Value, json};
use sim::{Config, Simulation, member_name};
use vocabulary::{Fence, labels};

const FORCE: ApplyOptions = ApplyOptions { force: true, dry_run: false, absent: false };
const SOON: Duration = Duration::from_secs(10);

async fn member(limits: Limits) -> (Simulation, Member) {
    let simulation = Simulation::start(&Config { members: 1, zones: 1, port: 0 }).await.unwrap();
    let name = member_name(0);
    let member = Member::connect(&MemberConfig {
        server: simulation.server(&name),
        name: name.parse().unwrap(),
        ca_pem: Some(simulation.ca_pem.clone().into_bytes()),
        tls_server_name: None,
        proxy_url: None,
        token: SecretString::from("any"),
        limits,
    })
    .unwrap();
    (simulation, member)
}

fn fence(plan: u32) -> Fence {
    Fence { generation: 1, authority: 1, plan }
}

fn web(plan: u32, replicas: i32, note: Option<&str>) -> Value {
    let mut object = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "pay", "labels": {labels::MANAGED: "true"}, "annotations": {labels::FENCE: fence(plan)}},
        "spec": {"replicas": replicas, "template": {"spec": {"containers": [{"name": "main", "image": "web:1"}]}}},
    });
    if let Some(note) = note {
        object["metadata"]["annotations"]["note"] = note.into();
    }
    object
}

fn deployments() -> ApiKind {
    ApiKind::namespaced("apps", "v1", "Deployment", "deployments")
}

#[tokio::test]
async fn it_is_met_like_any_other() {
    let (simulation, member) = member(Limits::default()).await;
    assert!(member.version().await.unwrap().supported());
    member.probe().await.unwrap();
    let uid = simulation.member(&member_name(0)).unwrap().uid();
    assert_eq!(member.kube_system_uid().await.unwrap(), uid);
    let kinds = member.discover().await.unwrap();
    let served = kinds.iter().find(|kind| kind.kind == "Deployment").unwrap().clone();
    assert!(member.permissions(&[served]).await.unwrap()[0].deliverable());
    member.ensure_namespace("pay", &BTreeMap::new()).await.unwrap();
    member.ensure_namespace("pay", &BTreeMap::new()).await.unwrap();
    member.request_token(Duration::from_hours(1)).await.unwrap();
}

#[tokio::test]
async fn apply_drops_unnamed_fields_and_stale_writes_are_refused() {
    let (_simulation, member) = member(Limits::default()).await;
    let kind = deployments();
    let first = member.apply(&kind, "pay", "web", &web(1, 2, Some("x")), FORCE).await.unwrap();
    assert_eq!((&first["metadata"]["generation"], &first["metadata"]["annotations"]["note"]), (&json!(1), &json!("x")));
    let second = member.apply(&kind, "pay", "web", &web(2, 2, None), FORCE).await.unwrap();
    assert!(second["metadata"]["annotations"]["note"].is_null());
    assert_eq!(second["metadata"]["generation"], 1, "metadata is no new generation");
    let third = member.apply(&kind, "pay", "web", &web(3, 5, None), FORCE).await.unwrap();
    assert_eq!(third["metadata"]["generation"], 2);
    assert_eq!(third["metadata"]["uid"], first["metadata"]["uid"]);
    let late = member.apply(&kind, "pay", "web", &web(2, 1, None), FORCE).await;
    assert!(matches!(late, Err(MemberError::FenceRefused { .. })), "{late:?}");

    let stale = Preconditions::of(&first);
    let refused = member.delete(&kind, "pay", "web", &stale).await;
    assert!(matches!(refused, Err(MemberError::Conflict { .. })), "{refused:?}");
    let uid = third["metadata"]["uid"].as_str().unwrap();
    member.remove(&kind, "pay", "web", fence(3), uid).await.unwrap();
    let gone = member.get(&kind, "pay", "web").await;
    assert!(matches!(gone, Err(MemberError::NotFound { .. })), "{gone:?}");
}

#[tokio::test]
async fn lists_come_in_pages_and_watches_go_on_from_there() {
    let (_simulation, member) = member(Limits { page_size: 3, ..Limits::default() }).await;
    let kind = deployments();
    let named = |number: usize| {
        let mut object = web(1, 1, None);
        object["metadata"]["name"] = format!("web-{number}").into();
        object
    };
    for number in 0..7 {
        member.apply(&kind, "pay", &format!("web-{number}"), &named(number), FORCE).await.unwrap();
    }
    let mut watch = member.watch(&kind, &Selection::labels(format!("{}=true", labels::MANAGED)));
    let mut next = async || loop {
        match tokio::time::timeout(SOON, watch.next()).await.unwrap().unwrap() {
            WatchEvent::Opened => {}
            event => break event,
        }
    };
    assert_eq!(next().await, WatchEvent::Reset);
    for _ in 0..7 {
        assert!(matches!(next().await, WatchEvent::Upsert(_)));
    }
    assert!(matches!(next().await, WatchEvent::Synced { .. }));
    // The member updates the status of a Deployment later, so more than one event may arrive for it.
    member.apply(&kind, "pay", "web-9", &named(9), FORCE).await.unwrap();
    loop {
        let WatchEvent::Upsert(bytes) = next().await else { continue };
        let object: Value = serde_json::from_slice(&bytes).unwrap();
        if object["metadata"]["name"] == "web-9" && object["status"]["availableReplicas"] == 1 {
            break;
        }
    }
    let there = member.get(&kind, "pay", "web-9").await.unwrap();
    member.remove(&kind, "pay", "web-9", fence(1), there["metadata"]["uid"].as_str().unwrap()).await.unwrap();
    loop {
        if let WatchEvent::Delete(gone) = next().await {
            assert_eq!(gone.key.name, "web-9");
            break;
        }
    }
}
