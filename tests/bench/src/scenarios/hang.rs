//! Measures a member's API server that stops answering and continues later.

use std::time::{Duration, Instant};

use crds::{Application, Cluster};
use kube::Api;
use kube::api::ListParams;
use testbed::eventually;

use super::NAMESPACE;
use crate::audit::{Mark, is_ours};
use crate::figures::Figures;
use crate::installation::{Installation, MEMBERS};

const LONGEST: Duration = Duration::from_mins(2);
/// Time for which the member stays away after the hub has shown it as not ready.
const AWAY: Duration = Duration::from_secs(20);

pub(super) async fn run(bed: &mut Installation, figures: &mut Figures) -> anyhow::Result<()> {
    let hung = MEMBERS[2];
    let hub = bed.hub().await?;
    let clusters = Api::<Cluster>::all(hub.clone());
    let apps = Api::<Application>::namespaced(hub, NAMESPACE);
    // Under load, status follows the facts by a few seconds.
    let before = eventually("status shows what was placed", LONGEST, async || {
        let sums = Sums::of(&apps).await?;
        Ok((sums.stale == 0 && sums.ready == sums.desired).then_some(sums))
    })
    .await?;
    let begun = Instant::now();
    bed.member_api(hung)?.pause()?;
    let outcome = away(&clusters, &apps, &before, begun, figures).await;
    let marks: Vec<Mark> = bed.bed.members.values().map(Mark::now).collect();
    let back = Instant::now();
    bed.member_api(hung)?.resume()?;
    outcome?;
    ready(&clusters, hung, true).await?;
    figures.add("hang.ready_again_s", back.elapsed().as_secs_f64());
    eventually("status is fresh again", LONGEST, async || {
        let after = Sums::of(&apps).await?;
        Ok((after.stale == 0 && after.ready == before.ready).then_some(()))
    })
    .await?;
    figures.add("hang.all_fresh_again_s", back.elapsed().as_secs_f64());
    let after = Sums::of(&apps).await?;
    figures.add("hang.moved_on_return", f64::from(after.moved_from(&before)));
    let mut writes = 0;
    for mark in &marks {
        writes += mark.writes()?.iter().filter(|write| is_ours(&write.user)).count();
    }
    figures.add("hang.member_writes_on_return", writes as f64);
    Ok(())
}

async fn away(
    clusters: &Api<Cluster>,
    apps: &Api<Application>,
    before: &Sums,
    begun: Instant,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    ready(clusters, MEMBERS[2], false).await?;
    figures.add("hang.noticed_s", begun.elapsed().as_secs_f64());
    tokio::time::sleep(AWAY).await;
    let during = Sums::of(apps).await?;
    figures.add("hang.replicas_desired", f64::from(before.desired));
    figures.add("hang.moved", f64::from(during.moved_from(before)));
    // Status shows fresh and stale replicas apart, so their sum must never exceed the desired number.
    figures.add("hang.counted_ready_above_desired", f64::from((during.ready + during.stale - before.desired).max(0)));
    figures.add("hang.shown_stale", f64::from(during.stale));
    Ok(())
}

async fn ready(clusters: &Api<Cluster>, name: &str, wanted: bool) -> anyhow::Result<()> {
    eventually(&format!("{name} ready is {wanted}"), LONGEST, async || {
        let cluster = clusters.get(name).await?;
        let conditions = cluster.status.map(|status| status.conditions).unwrap_or_default();
        let ready = conditions.iter().any(|one| one.type_ == "Ready" && one.status == "True");
        Ok((ready == wanted).then_some(()))
    })
    .await
}

/// Sums over the status of all Applications.
struct Sums {
    desired: i32,
    ready: i32,
    stale: i32,
    by_cell: std::collections::BTreeMap<(String, String), i32>,
}

impl Sums {
    async fn of(apps: &Api<Application>) -> anyhow::Result<Self> {
        let mut sums = Self { desired: 0, ready: 0, stale: 0, by_cell: std::collections::BTreeMap::new() };
        for app in apps.list(&ListParams::default()).await?.items {
            let Some(status) = app.status else { continue };
            sums.desired += status.desired;
            sums.ready += status.ready;
            sums.stale += status.stale_ready;
            let name = app.metadata.name.unwrap_or_default();
            sums.by_cell.extend(status.cells.into_iter().map(|cell| ((name.clone(), cell.cell), cell.desired)));
        }
        Ok(sums)
    }

    /// Returns the number of replicas that are now decided for other cells.
    fn moved_from(&self, before: &Self) -> i32 {
        let now = |key| self.by_cell.get(key).copied().unwrap_or_default();
        before.by_cell.iter().map(|(key, desired)| (desired - now(key)).max(0)).sum()
    }
}
