//! Measures the limit of the machine.
//!
//! Clients write the same objects directly to the members, without Meridian.

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
use crate::witness::Witness;
use crate::{load, processes};

const LONGEST: Duration = Duration::from_mins(10);

/// Namespace of the objects that are written directly.
const DIRECT: &str = "direct";

/// Measures direct writes and Meridian on new test beds.
///
/// - Direct writes to members as they are.
/// - Meridian on a hub whose admission policy adds the finalizer.
/// - Both with paused controllers in the members, so that only the machine and Meridian determine the time.
pub(super) async fn run(scale: &Scale, figures: &mut Figures) -> anyhow::Result<()> {
    {
        let mut bed = Installation::start(scale.nodes).await?;
        bed.operator.stop()?;
        let directly = directly(&bed, scale).await?;
        figures.add("limit.applied_s", directly);
        if let Some(ours) = figures.get("placement.applied_s") {
            figures.add("limit.applied_share", directly / ours);
        }
    }
    {
        let bed = Installation::start(scale.nodes).await?;
        bed.finalizers_at_birth().await?;
        let (ours, used, _) = by_meridian(&bed, scale).await?;
        figures.add("limit.born_applied_s", ours);
        figures.add("limit.born_plane_cpu_s", used);
    }
    let mut bed = Installation::start(scale.nodes).await?;
    bed.hold_member_controllers()?;
    let (ours, used, created) = by_meridian(&bed, scale).await?;
    figures.add("limit.held_created_s", created);
    bed.operator.stop()?;
    let directly = directly(&bed, scale).await?;
    figures.add("limit.held_applied_s", ours);
    figures.add("limit.held_plane_cpu_s", used);
    figures.add("limit.held_direct_s", directly);
    figures.add("limit.held_share", directly / ours);
    Ok(())
}

/// Creates Applications on the hub and waits until Meridian has delivered all their objects.
///
/// Returns seconds until all objects exist, CPU seconds of Meridian's plane until then, and seconds until all
/// Applications were created.
async fn by_meridian(bed: &Installation, scale: &Scale) -> anyhow::Result<(f64, f64, f64)> {
    bed.kubectl(&["create", "namespace", NAMESPACE])?;
    bed.idle().await?;
    let plane = bed.plane()?;
    let cpu = processes::cpu(&plane);
    let users = load::clients(&bed.bed.hub).await?;
    let witness = bed.witness().await?;
    let begun = Instant::now();
    let created = load::create(&users, NAMESPACE, scale.applications, MEMBERS.len() as i32).await?;
    let there = all_there(&witness, scale, NAMESPACE).await?;
    let used = processes::cpu(&plane).iter().map(|(name, now)| now - cpu.get(name).copied().unwrap_or_default()).sum();
    Ok(((there - begun).as_secs_f64(), used, (created - begun).as_secs_f64()))
}

/// Writes Applications to the hub and their Deployments to the members at the same time.
///
/// The operator is stopped. Returns seconds until all objects exist.
async fn directly(bed: &Installation, scale: &Scale) -> anyhow::Result<f64> {
    bed.kubectl(&["create", "namespace", DIRECT])?;
    let mut writers = Vec::new();
    for plane in bed.bed.members.values() {
        let client = plane.client().await?;
        let namespace = serde_json::from_value(serde_json::json!({"metadata": {"name": DIRECT}}))?;
        Api::<k8s_openapi::api::core::v1::Namespace>::all(client)
            .create(&kube::api::PostParams::default(), &namespace)
            .await?;
        writers.push(load::clients(plane).await?);
    }
    let users = load::clients(&bed.bed.hub).await?;
    let witness = bed.witness().await?;
    let begun = Instant::now();
    let members = try_join_all(writers.iter().map(|clients| apply(clients, scale.applications)));
    let hub = load::create(&users, DIRECT, scale.applications, MEMBERS.len() as i32);
    futures::future::try_join(members, hub).await?;
    Ok((all_there(&witness, scale, DIRECT).await? - begun).as_secs_f64())
}

/// Returns the time at which the Deployments of all Applications existed in all members.
async fn all_there(witness: &Witness, scale: &Scale, namespace: &'static str) -> anyhow::Result<Instant> {
    let objects = scale.applications * MEMBERS.len();
    let all = move |witness: &Witness| {
        witness.read(|seen| seen.keys().filter(|(_, there, _)| there == namespace).count()) >= objects
    };
    witness.until("all are there", LONGEST, all).await
}

/// Applies the Deployments of all Applications to one member.
async fn apply(clients: &[Client], count: usize) -> anyhow::Result<()> {
    let parameters = PatchParams::apply("bench").force();
    let workers = clients.iter().enumerate().map(|(worker, client)| {
        let parameters = &parameters;
        async move {
            let api = Api::<Deployment>::namespaced(client.clone(), DIRECT);
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

/// Builds the Deployment that the operator delivers for an Application to one of three members.
pub(super) fn deployment(name: &str) -> anyhow::Result<Value> {
    let application = load::application(DIRECT, name, MEMBERS.len() as i32)?;
    let mut template = application.spec.components.into_iter().next().context("one component")?.template;
    template["spec"]["replicas"] = 1.into();
    Ok(template)
}
