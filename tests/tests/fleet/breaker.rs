//! Many members are silent at the same time.
//!
//! Replicas of a lost zone move. A silence that may be the operator's own blindness moves nothing.

use std::cell::Cell;
use std::time::{Duration, Instant};

use acceptance::manifests::namespace;
use acceptance::{Fleet, SOON, condition};
use anyhow::{Context, ensure};
use testbed::eventually;

use crate::silence::{Silence, by_cluster, cluster_until, leave, reschedules, reschedules_after};

/// Two of the four members, in different zones.
const HALF: [&str; 2] = ["north-a", "south-a"];

pub(crate) async fn a_lost_zone_moves_and_half_the_fleet_does_not(fleet: &mut Fleet) -> anyhow::Result<()> {
    namespace(fleet, "breaker")?;
    fleet.apply("hub", &reschedules("breaker", "moves", 8))?;
    fleet.ready("breaker", "moves").await?;
    let zone = ["north-a", "north-b"];
    for member in zone {
        Silence::BlackHole.begin(fleet, member)?;
    }
    fleet
        .app_until("breaker", "moves", "all replicas run in the south", |app| {
            assert!(condition(app, "FailoverFrozen").is_none_or(|(status, _)| status != "True"), "{:?}", app.status);
            let south: i32 =
                by_cluster(app).iter().filter(|(cluster, _)| cluster.starts_with("south")).map(|(_, n)| n).sum();
            south == 8 && app.status.as_ref().is_some_and(|status| status.available == 8)
        })
        .await?;
    ensure!(!breaker_is_open(fleet)?, "a lost zone is what failover is for");
    for member in zone {
        Silence::BlackHole.end(fleet, member)?;
    }
    for member in zone {
        cluster_until(fleet, member, "True").await?;
    }
    fleet.ready("breaker", "moves").await?;
    leave(fleet, "breaker", &["moves"])?;

    fleet.apply("hub", &reschedules("breaker", "again", 8))?;
    half_is_silent(fleet, "breaker", "again").await?;
    leave(fleet, "breaker", &["again"])
}

/// Half of a fleet returns member by member, and the operator dies in between.
///
/// The late member does not count as lost.
pub(crate) async fn half_a_fleet_that_returns_moves_nothing(fleet: &mut Fleet) -> anyhow::Result<()> {
    namespace(fleet, "half")?;
    fleet.apply("hub", &reschedules_after("20s", "half", "web", 8))?;
    let before = by_cluster(&fleet.ready("half", "web").await?);
    freeze(fleet, "half", "web").await?;
    let [first, late] = HALF;
    Silence::BlackHole.end(fleet, first)?;
    cluster_until(fleet, first, "True").await?;
    let waits = fleet
        .app_until("half", "web", "the late one is given time", |app| {
            assert!(by_cluster(app) == before, "something moved: {:?}", by_cluster(app));
            condition(app, "FailoverFrozen").is_some_and(|(_, message)| message.contains("given 20 s"))
        })
        .await?;
    let (status, message) = condition(&waits, "FailoverFrozen").context("a condition")?;
    ensure!(status == "True" && message.contains(late) && !message.contains(first), "{status}: {message}");
    let process = &mut fleet.operator()?.process;
    process.kill()?;
    process.start_again()?;
    Silence::BlackHole.end(fleet, late)?;
    thawed(fleet, "half", "web").await?;
    let after = by_cluster(&fleet.ready("half", "web").await?);
    ensure!(after == before, "on return {before:?} became {after:?}");
    leave(fleet, "half", &["web"])
}

/// Half of a fleet returns except one member, which gets the full failover time before it is given up.
///
/// The operator dies meanwhile, and the time does not start again.
pub(crate) async fn a_member_that_stays_silent_is_given_up_in_time(fleet: &mut Fleet) -> anyhow::Result<()> {
    namespace(fleet, "gone")?;
    fleet.apply("hub", &reschedules_after("20s", "gone", "web", 8))?;
    let before = by_cluster(&fleet.ready("gone", "web").await?);
    freeze(fleet, "gone", "web").await?;
    let [first, gone] = HALF;
    Silence::BlackHole.end(fleet, first)?;
    breaker_until(fleet, false).await?;
    let closed = Instant::now();
    fleet.operator()?.process.kill()?;
    fleet.operator()?.process.start_again()?;
    let moved = Cell::new(None);
    fleet
        .app_until("gone", "web", "what is lost runs elsewhere", |app| {
            let now = by_cluster(app);
            if now != before && moved.get().is_none() {
                moved.set(Some(closed.elapsed()));
            }
            let elsewhere: i32 = now.iter().filter(|(cluster, _)| *cluster != gone).map(|(_, desired)| desired).sum();
            elsewhere == 8 && app.status.as_ref().is_some_and(|status| status.available == 8)
        })
        .await?;
    let moved = moved.get().context("something moved")?;
    // The test samples both events with a delay; a restart that reset the time would make it twice as long.
    let (least, most) = (Duration::from_secs(17), Duration::from_secs(32));
    ensure!((least..most).contains(&moved), "given up after {moved:?} instead of 20 s");
    Silence::BlackHole.end(fleet, gone)?;
    cluster_until(fleet, gone, "True").await?;
    fleet.ready("gone", "web").await?;
    leave(fleet, "gone", &["web"])
}

/// Checks that nothing moves while two clusters in different zones are silent, and lets them return.
async fn half_is_silent(fleet: &mut Fleet, space: &str, name: &str) -> anyhow::Result<()> {
    freeze(fleet, space, name).await?;
    for member in HALF {
        Silence::BlackHole.end(fleet, member)?;
    }
    thawed(fleet, space, name).await
}

/// Silences half of the fleet, and waits until status reports that moves are frozen.
async fn freeze(fleet: &mut Fleet, space: &str, name: &str) -> anyhow::Result<()> {
    let before = by_cluster(&fleet.ready(space, name).await?);
    for member in HALF {
        Silence::BlackHole.begin(fleet, member)?;
    }
    let frozen = fleet
        .app_until(space, name, "moves are frozen", |app| {
            assert!(by_cluster(app) == before, "something moved: {:?}", by_cluster(app));
            condition(app, "FailoverFrozen").is_some_and(|(status, _)| status == "True")
        })
        .await?;
    let (_, message) = condition(&frozen, "FailoverFrozen").context("a condition")?;
    ensure!(HALF.iter().all(|member| message.contains(member)), "{message}");
    breaker_until(fleet, true).await
}

/// Waits until all silenced members are ready and moves are possible again.
async fn thawed(fleet: &Fleet, space: &str, name: &str) -> anyhow::Result<()> {
    for member in HALF {
        cluster_until(fleet, member, "True").await?;
    }
    fleet
        .app_until(space, name, "free and ready again", |app| {
            condition(app, "FailoverFrozen").is_none_or(|(status, _)| status != "True")
                && condition(app, "Ready").is_some_and(|(status, _)| status == "True")
        })
        .await?;
    breaker_until(fleet, false).await
}

async fn breaker_until(fleet: &Fleet, open: bool) -> anyhow::Result<()> {
    eventually("the metric says so", SOON, async || Ok((breaker_is_open(fleet)? == open).then_some(()))).await
}

fn breaker_is_open(fleet: &Fleet) -> anyhow::Result<bool> {
    Ok(fleet.operators[0].metric("meridian_failover_breaker_open")? > 0.5)
}
