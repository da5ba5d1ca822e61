//! Measures a restart of the operator with all earlier placements.

use std::time::{Duration, Instant};

use crds::Application;
use jiff::Timestamp;
use kube::Api;

use super::{NAMESPACE, Scale, latency};
use crate::audit::{Mark, Write, is_operator, is_ours};
use crate::figures::Figures;
use crate::installation::{Installation, MEMBERS};
use crate::{load, processes};

/// Application that is edited during the second restart.
const EDITED: &str = "restarted";

pub(super) async fn run(bed: &mut Installation, scale: &Scale, figures: &mut Figures) -> anyhow::Result<()> {
    let witness = bed.witness().await?;
    let api = Api::<Application>::namespaced(bed.hub().await?, NAMESPACE);
    latency::bring(bed, &witness, &api, EDITED).await?;
    let window = Duration::from_secs(scale.window);

    // The idle window and the restart window have the same length: the difference is the cost of the restart.
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

    // The second restart measures when an edit arrives that a user made while the operator was stopped.
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

/// Returns true for heartbeats.
///
/// A heartbeat stores the time of a member's last answer every ten seconds, like a node lease.
fn is_heartbeat(write: &Write) -> bool {
    write.what == "patch clusters/status"
}

/// Counts writes in a window without work.
///
/// Returns Meridian's other writes to the hub, heartbeats there, and writes to members.
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

/// Returns the time until which the operator was busy after its start.
///
/// Samples the operator's CPU time five times a second. An interval is busy when the operator used more than a tenth of
/// a core. Intervals count until the operator has been idle for a whole second.
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
        // At most two ticks of the kernel's clock count as idle.
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
