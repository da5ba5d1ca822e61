//! Measures which work delays other work.
//!
//! One application with many edits runs beside another application, and one hanging member beside the other members.

use std::time::{Duration, Instant};

use crds::Application;
use kube::Api;

use super::{NAMESPACE, Scale, latency};
use crate::figures::Figures;
use crate::installation::{Installation, MEMBERS};
use crate::witness::Seen;
use crate::{load, spread};

const BUSY: &str = "busy";
const CALM: &str = "calm";
/// Maximum number of single edits of the calm application in each phase.
const EDITS: usize = 15;
/// Minimum interval between two edits of the calm application.
const PACE: Duration = Duration::from_millis(500);
/// Minimum interval between two edits of the busy application in the paced phase.
const STORM: Duration = Duration::from_millis(50);

pub(super) async fn run(bed: &mut Installation, scale: &Scale, figures: &mut Figures) -> anyhow::Result<()> {
    let witness = bed.witness().await?;
    let api = Api::<Application>::namespaced(bed.hub().await?, NAMESPACE);
    latency::bring(bed, &witness, &api, BUSY).await?;
    latency::bring(bed, &witness, &api, CALM).await?;
    let count = EDITS.min(scale.edits);

    let scales = async || {
        let mut times = Vec::new();
        for number in 0..count {
            let each = 1 + (number % 2) as i32;
            let begun = Instant::now();
            load::scale(&api, CALM, each * MEMBERS.len() as i32).await?;
            let shown = latency::shown_in(&witness, &MEMBERS, CALM, |seen| seen.replicas == each).await?;
            times.push(shown - begun);
            tokio::time::sleep_until((begun + PACE).into()).await;
        }
        anyhow::Ok(spread::median(times))
    };
    let alone = scales().await?;

    figures.add("fairness.alone_p50_ms", alone.as_secs_f64() * 1000.0);
    // The first pace fits the cores, so that only Meridian's own queues differ. The second is as fast as the hub
    // accepts edits.
    for (name, pause) in [("busy", STORM), ("flat_out", Duration::ZERO)] {
        let busy_api = Api::<Application>::namespaced(bed.hub().await?, NAMESPACE);
        let total = scale.busy_edits;
        let storm = tokio::spawn(async move {
            let begun = tokio::time::Instant::now();
            for number in 0..total {
                load::annotate(&busy_api, BUSY, &format!("{name}-{number}")).await?;
                tokio::time::sleep_until(begun + pause * (u32::try_from(number)? + 1)).await;
            }
            anyhow::Ok(begun.elapsed())
        });
        let beside = scales().await?;
        let took = storm.await??;
        figures.add(&format!("fairness.beside_{name}_p50_ms"), beside.as_secs_f64() * 1000.0);
        figures.add(&format!("fairness.{name}_ratio"), beside.as_secs_f64() / alone.as_secs_f64());
        figures.add(&format!("fairness.{name}_edits_per_s"), total as f64 / took.as_secs_f64());
        let last = format!("{name}-{}", total - 1);
        latency::shown(&witness, BUSY, |seen| seen.edit.as_deref() == Some(&last)).await?;
        bed.idle().await?;
    }

    // Scaling down would wait for the hanging member, because the state of its replicas is unknown.
    let annotations = async |mark: &str| {
        let mut times = Vec::new();
        for number in 0..count {
            let value = format!("{mark}-{number}");
            let begun = Instant::now();
            load::annotate(&api, CALM, &value).await?;
            let arrived = |seen: &Seen| seen.edit.as_deref() == Some(&value);
            let shown = latency::shown_in(&witness, &MEMBERS[..2], CALM, arrived).await?;
            times.push(shown - begun);
            tokio::time::sleep_until((begun + PACE).into()).await;
        }
        anyhow::Ok(spread::median(times))
    };
    let undisturbed = annotations("undisturbed").await?;
    bed.member_api(MEMBERS[2])?.pause()?;
    let disturbed = annotations("disturbed").await;
    bed.member_api(MEMBERS[2])?.resume()?;
    let disturbed = disturbed?;
    figures.add("fairness.others_p50_ms", undisturbed.as_secs_f64() * 1000.0);
    figures.add("fairness.others_beside_hung_p50_ms", disturbed.as_secs_f64() * 1000.0);
    figures.add("fairness.hung_ratio", disturbed.as_secs_f64() / undisturbed.as_secs_f64());
    // All edits that the hanging member missed arrive.
    let last = format!("disturbed-{}", count - 1);
    latency::shown(&witness, CALM, |seen| seen.edit.as_deref() == Some(&last)).await?;
    bed.idle().await.map(drop)
}
