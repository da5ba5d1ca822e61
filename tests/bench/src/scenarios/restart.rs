//! The operator ends and begins again over everything placed before.

use std::time::{Duration, Instant};

use crds::Application;
use jiff::Timestamp;
use kube::Api;

use super::{NAMESPACE, Scale, latency};
use crate::audit::{Mark, Write, is_operator, is_ours};
use crate::figures::Figures;
use crate::installation::{Installation, MEMBERS};
use crate::{load, processes};

/// Application that is edited at the moment of the second restart.
const EDITED: &str = "restarted";

pub(super) async fn run(bed: &mut Installation, scale: &Scale, figures: &mut Figures) -> anyhow::Result<()> {
    let witness = bed.witness().await?;
    let api = Api::<Application>::namespaced(bed.hub().await?, NAMESPACE);
    latency::bring(bed, &witness, &api, EDITED).await?;
    let window = Duration::from_secs(scale.window);

    // Idle, then a restart, both as long: the difference is what the restart caused.
    let idle = counted(bed, window).await?;
    let ending = Instant::now();
    bed.operator.stop()?;
    figures.add("restart.ends_after_s", ending.elapsed().as_secs_f64());
    let (hub, members) = marks(bed);
    let begun = Timestamp::now();
    let started = Instant::now();
    bed.operator.start()?;
    let busy_until = busy_until(bed, started, window).await?;
    figures.add("restart.busy_until_s", busy_until.as_secs_f64());
    figures.add("restart.operator_cpu_s", processes::cpu(&bed.plane()?).get("operator").copied().unwrap_or_default());
    let writes = of_operator(&hub)?;
    let caused: Vec<&Write> = writes.iter().filter(|write| !is_heartbeat(write)).collect();
    figures.add("restart.hub_writes_caused", caused.len() as f64);
    figures.add("restart.hub_heartbeats", (writes.len() - caused.len()) as f64);
    figures.add("restart.hub_heartbeats_idle", idle.1 as f64);
    figures.add("restart.hub_writes_idle", idle.0 as f64);
    let mut in_members = 0;
    let mut last = caused.iter().map(|write| write.at).max();
    for mark in &members {
        let ours: Vec<Write> = mark.writes()?.into_iter().filter(|write| is_ours(&write.user)).collect();
        in_members += ours.len();
        last = last.max(ours.iter().map(|write| write.at).max());
    }
    figures.add("restart.member_writes_caused", f64::from(u32::try_from(in_members)?));
    figures.add("restart.member_writes_idle", idle.2 as f64);
    let last = last.map_or(0.0, |last| last.duration_since(begun).as_secs_f64());
    figures.add("restart.last_write_s", last);

    // A second one, with an edit made while nobody is there: when does it arrive?
    bed.operator.stop()?;
    load::annotate(&api, EDITED, "after").await?;
    let started = Instant::now();
    bed.operator.start()?;
    let shown = latency::shown(&witness, EDITED, |seen| seen.edit.as_deref() == Some("after")).await?;
    figures.add("restart.edit_shown_s", (shown - started).as_secs_f64());
    latency::shown(&witness, EDITED, |seen| seen.replicas == 1).await?;
    bed.idle().await?;
    figures.add("restart.operator_rss_mb", processes::memory(bed.operator.pid().unwrap_or_default()));
    debug_assert_eq!(MEMBERS.len(), members.len());
    Ok(())
}

fn marks(bed: &Installation) -> (Mark, Vec<Mark>) {
    (Mark::now(&bed.bed.hub), bed.bed.members.values().map(Mark::now).collect())
}

fn of_operator(hub: &Mark) -> anyhow::Result<Vec<Write>> {
    Ok(hub.writes()?.into_iter().filter(|write| is_operator(&write.user)).collect())
}

/// The time of a member's last sign of life, written every ten seconds: what node leases are to the members.
fn is_heartbeat(write: &Write) -> bool {
    write.what == "patch clusters/status"
}

/// Writes of Meridian to the hub, heartbeats there, and writes to members, in a window without any work.
async fn counted(bed: &Installation, window: Duration) -> anyhow::Result<(usize, usize, usize)> {
    let (hub, members) = marks(bed);
    tokio::time::sleep(window).await;
    let writes = of_operator(&hub)?;
    let heartbeats = writes.iter().filter(|write| is_heartbeat(write)).count();
    let mut in_members = 0;
    for mark in members {
        in_members += mark.writes()?.iter().filter(|write| is_ours(&write.user)).count();
    }
    Ok((writes.len() - heartbeats, heartbeats, in_members))
}

/// Looks at the operator's CPU time ten times a second; the end of the last of the first intervals in which it used
/// more than a tenth of a core, before it rested for a second.
async fn busy_until(bed: &Installation, started: Instant, window: Duration) -> anyhow::Result<Duration> {
    let groups = bed.plane()?;
    let used = || processes::cpu(&groups).get("operator").copied().unwrap_or_default();
    let step = Duration::from_millis(200);
    let mut before = used();
    let mut busy = Duration::ZERO;
    let mut rests = 0;
    let mut ticks = tokio::time::interval(step);
    ticks.tick().await;
    while started.elapsed() < window {
        ticks.tick().await;
        let now = used();
        // Less than two ticks of the kernel's clock is rest.
        if now - before > 0.02 {
            if rests < 5 {
                busy = started.elapsed();
                rests = 0;
            }
        } else {
            rests += 1;
        }
        before = now;
    }
    Ok(busy)
}
