//! What the machine can do at best: the same objects, written at once by those who make them, with nobody in between.

use std::time::{Duration, Instant};

use anyhow::Context;
use futures::future::try_join_all;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::Value;

use super::{NAMESPACE, Scale};
use crate::figures::Figures;
use crate::installation::{Installation, MEMBERS};
use crate::load;

const LONGEST: Duration = Duration::from_mins(10);

/// Applications go to the hub and their Deployments to the members, side by side; the operator is not running.
pub(super) async fn run(scale: &Scale, figures: &mut Figures) -> anyhow::Result<()> {
    let mut bed = Installation::start(scale.nodes).await?;
    bed.kubectl(&["create", "namespace", NAMESPACE])?;
    bed.operator.stop()?;
    let mut writers = Vec::new();
    for plane in bed.bed.members.values() {
        let client = plane.client().await?;
        let namespace = serde_json::from_value(serde_json::json!({"metadata": {"name": NAMESPACE}}))?;
        Api::<k8s_openapi::api::core::v1::Namespace>::all(client)
            .create(&kube::api::PostParams::default(), &namespace)
            .await?;
        writers.push(load::clients(plane).await?);
    }
    let users = load::clients(&bed.bed.hub).await?;
    let witness = bed.witness().await?;
    let objects = scale.applications * MEMBERS.len();

    let begun = Instant::now();
    let members = try_join_all(writers.iter().map(|clients| apply(clients, scale.applications)));
    let hub = load::create(&users, NAMESPACE, scale.applications, MEMBERS.len() as i32);
    futures::future::try_join(members, hub).await?;
    let all = move |witness: &crate::witness::Witness| {
        witness.read(|seen| seen.keys().filter(|(_, namespace, _)| namespace == NAMESPACE).count()) >= objects
    };
    let applied = witness.until("all are there", LONGEST, all).await?;
    figures.add("limit.applied_s", (applied - begun).as_secs_f64());
    if let Some(ours) = figures.get("placement.applied_s") {
        figures.add("limit.applied_share", (applied - begun).as_secs_f64() / ours);
    }
    Ok(())
}

/// Applies the Deployments of all Applications to one member.
async fn apply(clients: &[Client], count: usize) -> anyhow::Result<()> {
    let parameters = PatchParams::apply("bench").force();
    let workers = clients.iter().enumerate().map(|(worker, client)| {
        let parameters = &parameters;
        async move {
            let api = Api::<Deployment>::namespaced(client.clone(), NAMESPACE);
            for number in (worker..count).step_by(clients.len()) {
                let name = load::name(number);
                let object = deployment(&name)?;
                api.patch(&name, parameters, &Patch::Apply(&object))
                    .await
                    .with_context(|| format!("applying {name}"))?;
            }
            anyhow::Ok(())
        }
    });
    try_join_all(workers).await.map(drop)
}

/// What the operator delivers of an Application to one of three members.
fn deployment(name: &str) -> anyhow::Result<Value> {
    let application = load::application(NAMESPACE, name, MEMBERS.len() as i32)?;
    let mut template = application.spec.components.into_iter().next().context("one component")?.template;
    template["spec"]["replicas"] = 1.into();
    Ok(template)
}
