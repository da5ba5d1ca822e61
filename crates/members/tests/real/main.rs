//! Tests of the fence policy and of the transport against a real kube-apiserver.

#![allow(clippy::unwrap_used, reason = "a test")]

mod plane;
mod rights;
mod watches;

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;
use members::install::{self, Change, Installation, Profile};
use members::{ApiKind, ApplyOptions, Member, MemberError, Preconditions, Selection, WatchEvent};
use plane::Plane;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use vocabulary::{Fence, labels};

fn config_maps() -> ApiKind {
    ApiKind::namespaced("", "v1", "ConfigMap", "configmaps")
}

fn fence(plan: u32) -> Fence {
    Fence { generation: 1, authority: 1, plan }
}

/// Returns a delivered `ConfigMap` with this fence and this content.
fn delivered(name: &str, plan: u32, content: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {
            "name": name,
            "labels": {labels::MANAGED: "true", labels::APP: "trade"},
            "annotations": {labels::FENCE: fence(plan)},
        },
        "data": {"content": content},
    })
}

const PLAIN: ApplyOptions = ApplyOptions { force: false, dry_run: false, absent: false };

async fn apply(member: &Member, namespace: &str, name: &str, plan: u32, content: &str) -> Result<Value, MemberError> {
    let object = delivered(name, plan, content);
    member.apply(&config_maps(), namespace, name, &object, PLAIN).await
}

fn fence_refused<T: std::fmt::Debug>(result: Result<T, MemberError>, says: &str) {
    match result {
        Err(MemberError::FenceRefused { message }) => assert!(message.contains(says), "{message}"),
        other => panic!("expected a refusal by the fence policy saying {says:?}, got {other:?}"),
    }
}

#[tokio::test]
async fn a_stale_writer_is_refused_and_a_newer_one_passes() {
    let plane = Plane::shared().await;
    let member = plane.member().await;
    member.ensure_namespace("stale", &BTreeMap::new()).await.unwrap();
    member.ensure_namespace("stale", &BTreeMap::new()).await.unwrap();
    apply(&member, "stale", "c", 5, "five").await.unwrap();
    fence_refused(apply(&member, "stale", "c", 4, "four").await, "stale write");
    apply(&member, "stale", "c", 5, "five again").await.unwrap();
    let stored = apply(&member, "stale", "c", 6, "six").await.unwrap();
    assert_eq!(stored["data"]["content"], "six");

    let mut bare = delivered("c", 7, "x");
    bare["metadata"]["annotations"] = json!({});
    fence_refused(member.apply(&config_maps(), "stale", "c", &bare, PLAIN).await, "must carry a fence");
    bare["metadata"]["annotations"] = json!({labels::FENCE: "9"});
    fence_refused(member.apply(&config_maps(), "stale", "c", &bare, PLAIN).await, "must carry a fence");
    bare["metadata"]["name"] = "new".into();
    fence_refused(member.apply(&config_maps(), "stale", "new", &bare, PLAIN).await, "must carry a fence");
}

#[tokio::test]
async fn delete_needs_a_stamp_and_stale_process_cannot_stamp() {
    let plane = Plane::shared().await;
    let member = plane.member().await;
    member.ensure_namespace("stamp", &BTreeMap::new()).await.unwrap();
    let object = apply(&member, "stamp", "c", 5, "x").await.unwrap();
    let now = Preconditions::of(&object);
    let kind = config_maps();
    fence_refused(member.delete(&kind, "stamp", "c", &now).await, "not stamped");
    fence_refused(member.stamp_delete(&kind, "stamp", "c", fence(4), &now).await, "stale stamp");

    let other = Preconditions { uid: Some("00000000-0000-0000-0000-000000000000".into()), ..Preconditions::default() };
    let wrong = member.stamp_delete(&kind, "stamp", "c", fence(5), &other).await;
    assert!(matches!(wrong, Err(MemberError::Conflict { .. })), "{wrong:?}");

    let stamped = member.stamp_delete(&kind, "stamp", "c", fence(5), &now).await.unwrap();
    // The process died here. Another process applied with a newer fence, so the stamp is void.
    let revived = apply(&member, "stamp", "c", 6, "y").await.unwrap();
    let old = Preconditions::of(&stamped);
    let gone_by = member.delete(&kind, "stamp", "c", &old).await;
    assert!(matches!(gone_by, Err(MemberError::Conflict { .. } | MemberError::FenceRefused { .. })), "{gone_by:?}");
    fence_refused(member.delete(&kind, "stamp", "c", &Preconditions::of(&revived)).await, "not stamped");

    let stamped = member.stamp_delete(&kind, "stamp", "c", fence(7), &Preconditions::of(&revived)).await.unwrap();
    let stale = member.delete(&kind, "stamp", "c", &Preconditions::of(&revived)).await;
    assert!(matches!(stale, Err(MemberError::Conflict { .. })), "{stale:?}");
    member.delete(&kind, "stamp", "c", &Preconditions::of(&stamped)).await.unwrap();
    let gone = member.get(&kind, "stamp", "c").await;
    assert!(matches!(gone, Err(MemberError::NotFound { .. })), "{gone:?}");
}

#[tokio::test]
async fn other_people_may_edit_and_delete_but_not_touch_the_fence() {
    let plane = Plane::shared().await;
    let member = plane.member().await;
    member.ensure_namespace("people", &BTreeMap::new()).await.unwrap();
    apply(&member, "people", "c", 5, "x").await.unwrap();
    let path = "/api/v1/namespaces/people/configmaps/c";
    let edit = json!({"metadata": {"labels": {"team": "pay"}}, "data": {"more": "y"}});
    plane.admin("PATCH", path, &edit).await.unwrap();
    for annotation in [labels::FENCE, labels::DELETE_FENCE] {
        for value in [json!(fence(9)), Value::Null, json!("x")] {
            if annotation == labels::DELETE_FENCE && value.is_null() {
                continue;
            }
            let edit = json!({"metadata": {"annotations": {annotation: value}}});
            let refusal = plane.admin("PATCH", path, &edit).await.unwrap_err();
            assert!(refusal.contains("only Meridian changes"), "{refusal}");
        }
    }
    let foreign = apply(&member, "people", "c", 5, "z").await.unwrap();
    assert_eq!(foreign["data"]["more"], "y", "a foreign field survives our apply");
    assert_eq!(foreign["metadata"]["labels"]["team"], "pay");

    let edit = json!({"data": {"content": "theirs"}});
    plane.admin("PATCH", path, &edit).await.unwrap();
    let Err(MemberError::Conflict { managers, message }) = apply(&member, "people", "c", 5, "ours").await else {
        panic!("a field somebody else took must be a conflict")
    };
    assert!(!managers.is_empty() && message.contains(".data.content"), "{managers:?} {message}");
    let forced = ApplyOptions { force: true, ..PLAIN };
    let object = delivered("c", 5, "ours");
    let dry = ApplyOptions { dry_run: true, ..forced };
    member.apply(&config_maps(), "people", "c", &object, dry).await.unwrap();
    let unchanged = member.get(&config_maps(), "people", "c").await.unwrap();
    assert_eq!(unchanged["data"]["content"], "theirs");
    member.apply(&config_maps(), "people", "c", &object, forced).await.unwrap();

    plane.admin("DELETE", path, &json!({})).await.unwrap();
}

#[tokio::test]
async fn only_what_is_not_there_is_applied_as_absent() {
    let plane = Plane::shared().await;
    let member = plane.member().await;
    member.ensure_namespace("absent", &BTreeMap::new()).await.unwrap();
    let absent = ApplyOptions { force: true, absent: true, ..PLAIN };
    let first = member.apply(&config_maps(), "absent", "c", &delivered("c", 5, "x"), absent).await.unwrap();
    assert_eq!(first["data"]["content"], "x");
    let second = member.apply(&config_maps(), "absent", "c", &delivered("c", 6, "y"), absent).await;
    let Err(MemberError::Conflict { managers, .. }) = second else { panic!("{second:?}") };
    assert!(managers.is_empty(), "{managers:?}");

    let path = "/api/v1/namespaces/absent/configmaps";
    let foreign =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "theirs"}, "data": {"content": "z"}});
    plane.admin("POST", path, &foreign).await.unwrap();
    let third = member.apply(&config_maps(), "absent", "theirs", &delivered("theirs", 5, "x"), absent).await;
    assert!(matches!(third, Err(MemberError::Conflict { .. })), "{third:?}");
    let there = member.get(&config_maps(), "absent", "theirs").await.unwrap();
    assert_eq!(there["data"]["content"], "z");
}

#[tokio::test]
async fn a_released_object_stays_and_belongs_to_nobody() {
    let plane = Plane::shared().await;
    let member = plane.member().await;
    member.ensure_namespace("release", &BTreeMap::new()).await.unwrap();
    let object = apply(&member, "release", "c", 5, "x").await.unwrap();
    let kind = config_maps();
    let stale = member.release(&kind, "release", "c", fence(4), &Preconditions::of(&object), "i/a").await;
    fence_refused(stale, "stale stamp");
    let edit = json!({"metadata": {"labels": {labels::MANAGED: null}, "annotations": {labels::FENCE: null}}});
    let refusal = plane.admin("PATCH", "/api/v1/namespaces/release/configmaps/c", &edit).await;
    assert!(refusal.unwrap_err().contains("only Meridian changes"));

    let released = member.release(&kind, "release", "c", fence(5), &Preconditions::of(&object), "i/a").await.unwrap();
    let metadata = &released["metadata"];
    assert_eq!(metadata["uid"], object["metadata"]["uid"]);
    assert_eq!(released["data"]["content"], "x");
    assert_eq!(metadata["annotations"], json!({labels::RELEASED: "i/a"}), "only whom it belonged to is left");
    assert!(metadata["labels"].as_object().is_none_or(|all| all.keys().all(|key| !key.starts_with(labels::PREFIX))));
    let owners = metadata["managedFields"].to_string();
    assert!(!owners.contains("f:data") && !owners.contains(labels::FENCE), "{owners}");
}

#[tokio::test]
async fn a_field_the_member_does_not_know_is_refused_by_name() {
    let plane = Plane::shared().await;
    let member = plane.member().await;
    member.ensure_namespace("strict", &BTreeMap::new()).await.unwrap();
    let mut object = delivered("c", 1, "x");
    object["spec"] = json!({"unknown": 1});
    let result = member.apply(&config_maps(), "strict", "c", &object, PLAIN).await;
    let Err(MemberError::Invalid { fields, .. }) = result else { panic!("{result:?}") };
    assert_eq!(fields, ["spec"]);
    let object = delivered("c", 1, "x");
    let result = member.apply(&config_maps(), "no-such-namespace", "c", &object, PLAIN).await;
    assert!(matches!(result, Err(MemberError::NotFound { .. })), "{result:?}");
}

#[tokio::test]
async fn a_member_behind_a_proxy_is_reached_through_it_alone() {
    let plane = Plane::shared().await;
    let mut config = plane.config().await;
    let proxy = plane::ConnectProxy::start().await;
    config.proxy_url = Some(format!("http://joe:p%40ss@{}", proxy.address));
    let member = Member::connect(&config).unwrap();
    member.probe().await.unwrap();
    let kind = config_maps();
    let gets = (0..20).map(|_| member.get(&kind, "default", "kube-root-ca.crt"));
    futures::future::join_all(gets).await;
    let heads = proxy.heads.lock().unwrap().clone();
    assert_eq!(heads.len(), 1, "HTTP/2 carries all requests on one connection");
    let heads = heads.concat();
    let target = config.server.strip_prefix("https://").unwrap();
    assert!(heads.starts_with(&format!("CONNECT {target}")), "{heads}");
    assert!(heads.to_lowercase().contains("proxy-authorization: basic am9lonbac3m="), "{heads}");
    assert!(!heads.contains("Bearer"), "{heads}");
}

#[tokio::test]
async fn a_server_with_another_authority_or_name_is_not_trusted() {
    let plane = Plane::shared().await;
    let mut config = plane.config().await;
    config.tls_server_name = Some("kubernetes".into());
    Member::connect(&config).unwrap().probe().await.unwrap();
    config.tls_server_name = Some("elsewhere".into());
    let wrong = Member::connect(&config).unwrap().probe().await;
    let Err(MemberError::Unreachable { message, .. }) = wrong else { panic!("{wrong:?}") };
    assert!(message.contains("certificate"), "{message}");
    config.tls_server_name = None;
    config.ca_pem = Some(plane::another_authority());
    let wrong = Member::connect(&config).unwrap().probe().await;
    assert!(matches!(wrong, Err(MemberError::Unreachable { .. })), "{wrong:?}");
    config.ca_pem = Some(b"rubbish".to_vec());
    assert!(matches!(Member::connect(&config), Err(MemberError::Config { .. })));
}

#[tokio::test]
async fn join_is_idempotent_and_uninstall_removes_everything() {
    let plane = Plane::own().await;
    let client = plane.client().await;
    let installation = Installation::new(&[Profile::Deploy]);
    let again = install::apply(&client, &installation).await.unwrap();
    assert!(again.unchanged(), "{again:?}");
    assert_eq!(install::verify(&client, &installation).await.unwrap(), []);

    let binding =
        format!("/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/{}", install::POLICY_NAME);
    plane.admin("DELETE", &binding, &json!({})).await.unwrap();
    let issues = install::verify(&client, &installation).await.unwrap();
    assert_eq!(issues.len(), 1, "{issues:?}");
    let mended = install::apply(&client, &installation).await.unwrap();
    assert_eq!(mended.objects.iter().filter(|(_, c)| *c == Change::Created).count(), 1);

    let observing = Installation::new(&[Profile::Observe]);
    let narrowed = install::apply(&client, &observing).await.unwrap();
    let taken = narrowed.objects.iter().filter(|(_, change)| *change == Change::Removed).map(|(what, _)| what.as_str());
    let taken: Vec<&str> = taken.collect();
    assert!(
        taken.contains(&"ClusterRole meridian:deploy"),
        "rights that are not granted any more are taken: {taken:?}"
    );
    assert!(taken.iter().all(|what| what.contains("deploy")), "and no others: {taken:?}");
    assert!(install::apply(&client, &observing).await.unwrap().unchanged());
    install::apply(&client, &installation).await.unwrap();

    // A second Meridian is refused with the name of the first, and changes nothing.
    let owner = |installation: &str| install::Owner {
        installation: installation.to_owned(),
        hub: format!("hub-of-{installation}"),
        cluster: "north".to_owned(),
    };
    install::apply(&client, &installation.clone().owned_by(owner("first"))).await.unwrap();
    let refused = install::apply(&client, &observing.clone().owned_by(owner("second"))).await.unwrap_err();
    assert!(refused.to_string().contains("installation first (hub hub-of-first, joined there as north)"), "{refused}");
    assert!(install::apply(&client, &installation.clone().owned_by(owner("first"))).await.unwrap().unchanged());

    let member = plane.member().await;
    let removed = install::uninstall(&client).await.unwrap();
    assert!(removed.objects.iter().all(|(_, change)| *change == Change::Removed), "{removed:?}");
    let absent = install::uninstall(&client).await.unwrap();
    assert!(absent.objects.iter().all(|(what, c)| *c == Change::Absent || what.starts_with("Namespace")), "{absent:?}");
    // A token ends with its account, but the API server caches its validity for a moment.
    let ended = testbed::eventually("our credential ends with what join installed", plane::SOON, async || {
        Ok(matches!(member.probe().await, Err(MemberError::Unauthorized { .. })).then_some(()))
    });
    ended.await.unwrap();
}
