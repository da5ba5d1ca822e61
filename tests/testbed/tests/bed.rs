//! The bed itself: what every other test stands on.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;
use testbed::{Bed, MemberSpec, PlaneProcess, eventually};

const SOON: Duration = Duration::from_mins(1);

#[tokio::test]
async fn a_bed_runs_pods_survives_faults_and_leaves_nothing() {
    let mut bed = Bed::builder().member(MemberSpec::new("north", "north", &["n1"])).start().await.unwrap();
    assert_eq!(bed.postgres.query("select 1 + 1").unwrap(), "2");
    let member = bed.member("north").unwrap();
    let deployments: Api<Deployment> = Api::namespaced(member.client().await.unwrap(), "default");
    let web: Deployment = serde_json::from_value(json!({
        "metadata": {"name": "web"},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": "web:1"}]}}}
    }))
    .unwrap();
    deployments.create(&PostParams::default(), &web).await.unwrap();
    let available = async |deployments: &Api<Deployment>| {
        eventually("three pods are available", SOON, async || {
            let status = deployments.get("web").await?.status.unwrap_or_default();
            Ok((status.available_replicas == Some(3)).then_some(()))
        })
        .await
        .unwrap();
    };
    available(&deployments).await;
    let creates = member.audit().count(|event| {
        event.verb == "create" && event.resource == "deployments" && event.user == "testbed" && event.is_write()
    });
    assert_eq!(creates, 1);

    let api = bed.member_mut("north").unwrap().process(PlaneProcess::Api).unwrap();
    api.pause().unwrap();
    let asked = tokio::time::timeout(Duration::from_millis(500), deployments.get("web")).await;
    assert!(asked.is_err(), "a paused server answers nothing");
    api.resume().unwrap();
    available(&deployments).await;
    api.kill().unwrap();
    api.start().unwrap();
    let member = bed.member("north").unwrap();
    member.ready().await.unwrap();
    available(&Api::namespaced(member.client().await.unwrap(), "default")).await;

    let pids: Vec<u32> = member
        .processes()
        .chain(bed.etcds.values().map(|etcd| &etcd.process))
        .chain([&bed.postgres.primary])
        .filter_map(testbed::Process::pid)
        .collect();
    assert_eq!(pids.len(), 6);
    let folder = bed.folder().to_owned();
    drop(bed);
    for pid in pids {
        eventually("the process is gone", SOON, async || Ok((!std::fs::exists(format!("/proc/{pid}"))?).then_some(())))
            .await
            .unwrap();
    }
    assert!(!folder.exists(), "{} is left", folder.display());
}
