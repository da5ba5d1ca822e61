//! The operator or the database fails and recovers.

use acceptance::manifests::{MEMBERS, cells, namespace, patch, web};
use acceptance::{Fleet, SOON};
use anyhow::{Context, ensure};
use serde_json::json;
use testbed::eventually;

pub(crate) async fn a_killed_operator_goes_on_and_writes_nothing_twice(fleet: &mut Fleet) -> anyhow::Result<()> {
    namespace(fleet, "killed")?;
    fleet.apply("hub", &web("killed", "web", 8))?;
    let before = fleet.ready("killed", "web").await?;
    let written = fleet.member_writes();
    fleet.operator()?.process.kill()?;
    patch(fleet, "killed", "web", &json!({"spec": {"replicas": 12}}))?;
    fleet.operator()?.process.start()?;
    let after = fleet.ready("killed", "web").await?;
    let (before, after) = (cells(&before), cells(&after));
    ensure!(after.values().sum::<i32>() == 12, "{after:?}");
    let changed = after.iter().filter(|(cell, desired)| before.get(*cell) != Some(desired)).count();
    ensure!(changed >= MEMBERS.len(), "every deliverer has something to write: {before:?}, then {after:?}");
    let mut writes = fleet.member_writes();
    for earlier in written {
        let place = writes.iter().position(|write| *write == earlier).context("an audit log only grows")?;
        writes.remove(place);
    }
    ensure!(writes.len() == changed, "{changed} objects changed, and the members were written to by {writes:#?}");
    Ok(())
}

pub(crate) async fn a_lost_database_is_told_and_survived(fleet: &mut Fleet) -> anyhow::Result<()> {
    fleet.bed.postgres.primary.end()?;
    eventually("readiness names the database", SOON, async || {
        let answer = fleet.probe("/readyz")?;
        Ok((answer.contains("503") && answer.contains("database")).then_some(()))
    })
    .await?;
    ensure!(fleet.probe("/healthz")?.contains("200"), "the process itself is well");
    fleet.bed.postgres.primary.start()?;
    fleet.bed.postgres.answers().await?;
    eventually("ready again", SOON, async || Ok(fleet.probe("/readyz")?.contains("200").then_some(()))).await?;
    patch(fleet, "killed", "web", &json!({"spec": {"replicas": 13}}))?;
    fleet.ready("killed", "web").await?;
    let metrics = fleet.probe("/metrics")?;
    for name in [
        "meridian_delivery_planned",
        "meridian_delivery_sent",
        "meridian_delivery_applied",
        "meridian_delivery_queue_depth",
    ] {
        ensure!(metrics.contains(name), "/metrics has no {name}: {metrics}");
    }
    Ok(())
}

pub(crate) async fn operator_without_database_at_start_reports_it_and_recovers(
    fleet: &mut Fleet,
) -> anyhow::Result<()> {
    fleet.operator()?.process.end()?;
    fleet.bed.postgres.primary.end()?;
    fleet.operator()?.process.start()?;
    let pid = fleet.operator()?.process.pid();
    eventually("it runs, and readiness names the database", SOON, async || {
        ensure!(fleet.probe("/healthz")?.contains("200"), "it is not well");
        let answer = fleet.probe("/readyz")?;
        ensure!(answer.contains("503") && answer.contains("database"), "{answer}");
        Ok(Some(()))
    })
    .await?;
    fleet.bed.postgres.primary.start()?;
    fleet.bed.postgres.answers().await?;
    eventually("ready", SOON, async || Ok(fleet.probe("/readyz")?.contains("200").then_some(()))).await?;
    namespace(fleet, "late")?;
    fleet.apply("hub", &web("late", "web", 3))?;
    fleet.ready("late", "web").await?;
    ensure!(fleet.operator()?.process.pid() == pid, "it is the same process");
    Ok(())
}

/// An unreadable Application does not affect others: they are decided, also in a batch with it.
pub(crate) async fn an_application_that_cannot_be_read_holds_up_no_other(fleet: &mut Fleet) -> anyhow::Result<()> {
    namespace(fleet, "unread")?;
    for name in ["bad", "good"] {
        fleet.apply("hub", &web("unread", name, 4))?;
        fleet.ready("unread", name).await?;
    }
    let of_bad = "where namespace = 'unread' and name = 'bad'";
    let database = &fleet.bed.postgres;
    let intent = database.query(&format!("select intent from application {of_bad}"))?;
    database.query(&format!("update application set intent = '[]' {of_bad}"))?;
    // A cordon makes the scheduler decide all Applications in one batch.
    fleet.meridian(&["cluster", "cordon", "south-a"])?;
    fleet
        .app_until("unread", "good", "it is decided anew", |app| {
            let decision = app.status.as_ref().and_then(|status| status.decision.as_ref());
            decision.is_some_and(|decision| decision.cells.iter().any(|cell| cell.verdict == "Cordoned"))
        })
        .await?;
    ensure!(
        fleet.operator()?.metric("meridian_schedule_failed_batches_total")? > 0.0,
        "the other one fails, and is counted"
    );
    fleet.bed.postgres.query(&format!("update application set intent = '{intent}' {of_bad}"))?;
    fleet.meridian(&["cluster", "uncordon", "south-a"])?;
    for name in ["bad", "good"] {
        fleet.ready("unread", name).await?;
        fleet.meridian(&["app", "delete", name, "-n", "unread", "--yes", "--timeout", "60s"])?;
    }
    Ok(())
}
