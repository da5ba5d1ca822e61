//! Faults of a plane that a link cannot make.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ListParams, PostParams, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use testbed::{Bed, Gateway, GatewayMode, Plane, Revisions};

/// Much longer than an event needs to arrive.
const SILENCE: Duration = Duration::from_millis(500);
const SOON: Duration = Duration::from_secs(20);

async fn through(gateway: &Gateway, plane: &Plane) -> Client {
    let text = std::fs::read_to_string(plane.kubeconfig()).unwrap();
    let kubeconfig =
        Kubeconfig::from_yaml(&text.replace(&plane.server_url(), &format!("https://127.0.0.1:{}", gateway.port())))
            .unwrap();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    // The gateway ends TLS, so a client certificate does not reach the server; a token does.
    config.auth_info = kube::config::AuthInfo { token: Some(token(plane).await.into()), ..Default::default() };
    config.default_retry = false;
    Client::try_from(config).unwrap()
}

/// A token that may do everything.
async fn token(plane: &Plane) -> String {
    let client = plane.client().await.unwrap();
    let binding = serde_json::from_value(serde_json::json!({
        "metadata": {"name": "all"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": "default"}],
    }))
    .unwrap();
    let bindings: Api<k8s_openapi::api::rbac::v1::ClusterRoleBinding> = Api::all(client.clone());
    bindings.create(&PostParams::default(), &binding).await.unwrap();
    let accounts: Api<k8s_openapi::api::core::v1::ServiceAccount> = Api::namespaced(client, "default");
    let request = serde_json::from_value(serde_json::json!({"metadata": {}, "spec": {"audiences": []}})).unwrap();
    accounts.create_token_request("default", &PostParams::default(), &request).await.unwrap().status.unwrap().token
}

fn config_map(name: &str) -> ConfigMap {
    serde_json::from_value(serde_json::json!({"metadata": {"name": name}})).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_disturbs_by_request_and_a_plane_goes_back_in_time() {
    let mut bed = Bed::builder().own_etcd().start().await.unwrap();
    let gateway = Gateway::before(&bed.hub).await.unwrap();
    let client = through(&gateway, &bed.hub).await;
    let maps: Api<ConfigMap> = Api::namespaced(client, "default");
    let create = async |name: &str| maps.create(&PostParams::default(), &config_map(name)).await;

    let begin = maps.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
    // The plane's own controllers write one too, whenever they come to it.
    let ours = WatchParams::default().fields("metadata.name!=kube-root-ca.crt");
    let mut watch = maps.watch(&ours, &begin).await.unwrap().boxed();
    create("a").await.unwrap();
    let seen = tokio::time::timeout(SOON, watch.next()).await.unwrap();
    assert!(matches!(seen, Some(Ok(kube::core::WatchEvent::Added(_)))), "{seen:?}");

    gateway.set(GatewayMode::HoldWatches);
    create("b").await.unwrap();
    assert!(tokio::time::timeout(SILENCE, watch.next()).await.is_err(), "a held watch says nothing");
    assert!(maps.get("b").await.is_ok(), "everything else passes");
    gateway.set(GatewayMode::Pass);
    let seen = tokio::time::timeout(SOON, watch.next()).await.unwrap();
    assert!(matches!(seen, Some(Ok(kube::core::WatchEvent::Added(_)))), "nothing is lost: {seen:?}");

    gateway.set(GatewayMode::Throttle(Duration::from_secs(7)));
    match maps.get("a").await {
        Err(kube::Error::Api(status)) => {
            assert_eq!((status.code, status.reason.as_str()), (429, "TooManyRequests"));
            assert_eq!(status.details.as_ref().map(|details| details.retry_after_seconds), Some(7));
        }
        other => panic!("{other:?}"),
    }
    assert!(gateway.throttled() >= 1);

    gateway.set(GatewayMode::Delay(SILENCE));
    let begun = Instant::now();
    maps.get("a").await.unwrap();
    assert!(begun.elapsed() >= SILENCE);
    gateway.set(GatewayMode::Pass);

    let snapshot = bed.snapshot("hub", "before").await.unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(bed.hub.client().await.unwrap(), "default");
    maps.create(&PostParams::default(), &config_map("later")).await.unwrap();
    bed.restore("hub", Some(&snapshot), Revisions::GoBack).await.unwrap();
    assert!(maps.get_opt("a").await.unwrap().is_some() && maps.get_opt("later").await.unwrap().is_none());
    bed.restore("hub", None, Revisions::GoBack).await.unwrap();
    assert!(maps.get_opt("a").await.unwrap().is_none(), "the plane is empty");
}
