//! Measures single edits, one a second: the time until every member shows the edit.

use std::time::{Duration, Instant};

use crds::Application;
use futures::future::try_join_all;
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use kube::api::{Patch, PatchParams};

use super::{NAMESPACE, Scale, limit};
use crate::figures::Figures;
use crate::installation::{Installation, MEMBERS};
use crate::witness::{EDIT, Seen, Witness};
use crate::{load, processes, spread};

const LONGEST: Duration = Duration::from_mins(1);
/// Minimum interval between two edits.
const PACE: Duration = Duration::from_secs(1);
/// Application that is edited.
const EDITED: &str = "edited";
/// Deployment that is written to the members directly.
const DIRECT: &str = "direct";

pub(super) async fn run(bed: &mut Installation, scale: &Scale, figures: &mut Figures) -> anyhow::Result<()> {
    let witness = bed.witness().await?;
    let api = Api::<Application>::namespaced(bed.hub().await?, NAMESPACE);
    bring(bed, &witness, &api, EDITED).await?;
    let plane = bed.plane()?;

    let before = processes::cpu(&plane);
    let mut times = Vec::new();
    for number in 1..=scale.edits {
        let value = number.to_string();
        let begun = Instant::now();
        load::annotate(&api, EDITED, &value).await?;
        times.push(shown(&witness, EDITED, |seen| seen.edit.as_deref() == Some(&value)).await? - begun);
        pause(begun).await;
    }
    report(figures, "latency.annotation", times, scale, &before, &processes::cpu(&plane));

    let before = processes::cpu(&plane);
    let mut times = Vec::new();
    for number in 0..scale.edits {
        let each = 2 - (number % 2) as i32;
        let begun = Instant::now();
        load::scale(&api, EDITED, each * MEMBERS.len() as i32).await?;
        times.push(shown(&witness, EDITED, |seen| seen.replicas == each).await? - begun);
        pause(begun).await;
    }
    report(figures, "latency.scale", times, scale, &before, &processes::cpu(&plane));
    directly(bed, &witness, &api, scale, figures).await
}

/// Measures the annotation edit without Meridian.
///
/// The client edits the Application on the hub, and applies the Deployment to all members once the hub has answered. No
/// control plane between client and members can be faster here.
async fn directly(
    bed: &mut Installation,
    witness: &Witness,
    api: &Api<Application>,
    scale: &Scale,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let mut members = Vec::new();
    for plane in bed.bed.members.values() {
        members.push(Api::<Deployment>::namespaced(plane.client().await?, NAMESPACE));
    }
    let parameters = PatchParams::apply("bench").force();
    let apply = async |value: &str| {
        let mut object = limit::deployment(DIRECT)?;
        object["metadata"]["annotations"][EDIT] = value.into();
        let patch = Patch::Apply(&object);
        try_join_all(members.iter().map(|member| member.patch(DIRECT, &parameters, &patch))).await?;
        anyhow::Ok(())
    };
    apply("0").await?;
    shown(witness, DIRECT, |seen| seen.available.is_some()).await?;
    bed.operator.stop()?;
    let mut times = Vec::new();
    let mut value = String::new();
    for number in 1..=scale.edits {
        value = format!("direct-{number}");
        let begun = Instant::now();
        load::annotate(api, EDITED, &value).await?;
        apply(&value).await?;
        times.push(shown(witness, DIRECT, |seen| seen.edit.as_deref() == Some(&value)).await? - begun);
        pause(begun).await;
    }
    spread::add(figures, "latency.direct", times);
    if let (Some(direct), Some(ours)) = (figures.get("latency.direct.p50_ms"), figures.get("latency.annotation.p50_ms"))
    {
        figures.add("latency.direct_share", direct / ours);
    }
    bed.operator.start()?;
    shown(witness, EDITED, |seen| seen.edit.as_deref() == Some(&value)).await?;
    bed.idle().await.map(drop)
}

fn report(
    figures: &mut Figures,
    name: &str,
    times: Vec<Duration>,
    scale: &Scale,
    before: &std::collections::BTreeMap<String, f64>,
    after: &std::collections::BTreeMap<String, f64>,
) {
    spread::add(figures, name, times);
    let used =
        |name: &str| after.get(name).copied().unwrap_or_default() - before.get(name).copied().unwrap_or_default();
    for process in ["operator", "postgres", "hub apiserver"] {
        figures.add(&format!("{name}.cpu_ms_per_edit.{process}"), used(process) * 1000.0 / scale.edits as f64);
    }
}

async fn pause(begun: Instant) {
    tokio::time::sleep_until((begun + PACE).into()).await;
}

/// Creates an Application with one replica in every member and waits until it runs everywhere.
pub(super) async fn bring(
    bed: &Installation,
    witness: &Witness,
    api: &Api<Application>,
    name: &str,
) -> anyhow::Result<()> {
    let object = load::application(NAMESPACE, name, MEMBERS.len() as i32)?;
    api.create(&kube::api::PostParams::default(), &object).await?;
    shown(witness, name, |seen| seen.available.is_some()).await?;
    bed.idle().await.map(drop)
}

/// Waits until an Application's Deployment satisfies `is` in every member.
///
/// Returns the time at which the last member did.
pub(super) async fn shown(witness: &Witness, name: &str, is: impl Fn(&Seen) -> bool) -> anyhow::Result<Instant> {
    shown_in(witness, &MEMBERS, name, is).await
}

/// Like `shown`, for some members.
pub(super) async fn shown_in(
    witness: &Witness,
    members: &[&str],
    name: &str,
    is: impl Fn(&Seen) -> bool,
) -> anyhow::Result<Instant> {
    let all = |witness: &Witness| {
        members.iter().all(|member| witness.get(member, NAMESPACE, name).is_some_and(|seen| is(&seen)))
    };
    witness.until(&format!("{name} is as wanted in {members:?}"), LONGEST, all).await
}
