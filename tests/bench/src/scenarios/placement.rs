//! Measures many Applications that are created at once, the main figure of the peer.

use std::time::{Duration, Instant};

use anyhow::Context;

use super::{NAMESPACE, Scale};
use crate::audit::{Mark, is_operator, is_ours};
use crate::figures::Figures;
use crate::installation::{Installation, MEMBERS};
use crate::witness::Seen;
use crate::{load, processes};

const LONGEST: Duration = Duration::from_mins(15);
/// Time without a status write after which the hub counts as quiet.
const QUIET: Duration = Duration::from_secs(3);

pub(super) async fn run(bed: &Installation, scale: &Scale, figures: &mut Figures) -> anyhow::Result<()> {
    let objects = scale.applications * MEMBERS.len();
    let witness = bed.witness().await?;
    let clients = load::clients(&bed.bed.hub).await?;
    let (plane, members) = (bed.plane()?, bed.member_groups()?);
    processes::forget_peaks(&plane);
    let (database, etcd) = bed.stored()?;
    let hub = Mark::now(&bed.bed.hub);
    let in_members: Vec<Mark> = bed.bed.members.values().map(Mark::now).collect();
    let calls = statements(bed);
    let (cpu, members_cpu, cpu_self) =
        (processes::cpu(&plane), processes::cpu(&members), processes::cpu(&processes_self()));

    let begun = Instant::now();
    let created = load::create(&clients, NAMESPACE, scale.applications, MEMBERS.len() as i32).await?;
    let ours = |(_, namespace, _): &(String, String, String)| namespace == NAMESPACE;
    let count = |is: fn(&Seen) -> bool| {
        move |witness: &crate::witness::Witness| {
            witness.read(|seen| seen.iter().filter(|(key, seen)| ours(key) && is(seen)).count()) >= objects
        }
    };
    let applied = witness.until("all are applied", LONGEST, count(|_| true)).await?;
    let until_applied = used(&cpu, &processes::cpu(&plane));
    let members_until_applied = used(&members_cpu, &processes::cpu(&members));
    let available = witness.until("all are available", LONGEST, count(|seen| seen.available.is_some())).await?;
    let until_available = used(&cpu, &processes::cpu(&plane));
    let used_members = used(&members_cpu, &processes::cpu(&members));

    figures.add("placement.created_s", (created - begun).as_secs_f64());
    figures.add("placement.applied_s", (applied - begun).as_secs_f64());
    figures.add("placement.available_s", (available - begun).as_secs_f64());
    let mut applied_at: Vec<Duration> = witness.read(|seen| {
        seen.iter().filter(|(key, _)| ours(key)).map(|(_, seen)| seen.first.saturating_duration_since(begun)).collect()
    });
    applied_at.sort_unstable();
    figures.add("placement.applied_p50_s", applied_at.get(objects / 2).context("all were seen")?.as_secs_f64());
    figures.add("placement.plane_cpu_until_applied_s", sum(&until_applied));
    for (name, seconds) in &until_applied {
        figures.add(&format!("placement.cpu_until_applied_s.{name}"), *seconds);
    }
    figures.add("placement.members_cpu_until_applied_s", sum(&members_until_applied));
    figures.add("placement.plane_cpu_s", sum(&until_available));
    for (name, seconds) in &until_available {
        figures.add(&format!("placement.cpu_s.{name}"), *seconds);
    }
    for (name, seconds) in &used_members {
        figures.add(&format!("placement.cpu_s.{name}"), *seconds);
    }
    for (name, seconds) in used(&cpu_self, &processes::cpu(&processes_self())) {
        figures.add(&format!("placement.cpu_s.{name}"), seconds);
    }
    let peaks = processes::peaks(&plane);
    figures.add("placement.plane_peak_mb", peaks.values().sum());
    for (name, peak) in &peaks {
        figures.add(&format!("placement.peak_mb.{name}"), *peak);
    }

    // Status follows later; its cost is counted once no more status is written.
    quiet(&hub).await?;
    let per_application = scale.applications as f64;
    let after = used(&cpu, &processes::cpu(&plane));
    figures.add("placement.plane_cpu_until_quiet_s", sum(&after));
    let writes = hub.by_kind(is_operator)?;
    figures.add("placement.hub_writes_per_application", writes.values().sum::<usize>() as f64 / per_application);
    for (what, count) in writes {
        figures.add(&format!("placement.hub_writes.{what}"), count as f64);
    }
    let mut total = 0;
    for mark in &in_members {
        total += mark.by_kind(is_ours)?.values().sum::<usize>();
    }
    figures.add("placement.member_writes_per_object", total as f64 / objects as f64);
    let _ = bed.bed.postgres.query("checkpoint");
    let (database_after, etcd_after) = bed.stored()?;
    figures.add("placement.database_kb_per_application", (database_after - database) / 1024.0 / per_application);
    figures.add("placement.hub_etcd_kb_per_application", (etcd_after - etcd) / 1024.0 / per_application);
    let after = statements(bed);
    figures.add("placement.commits_per_application", (after.0 - calls.0) / per_application);
    figures.add("placement.tuples_written_per_application", (after.1 - calls.1) / per_application);
    figures.add("placement.wal_kb_per_application", (after.2 - calls.2) / 1024.0 / per_application);
    Ok(())
}

/// Returns transactions, written tuples, and bytes of the write-ahead log so far.
fn statements(bed: &Installation) -> (f64, f64, f64) {
    let ask =
        |statement: &str| bed.bed.postgres.query(statement).ok().and_then(|text| text.parse().ok()).unwrap_or(f64::NAN);
    (
        ask("select xact_commit from pg_stat_database where datname = 'meridian'"),
        ask("select tup_inserted + tup_updated + tup_deleted from pg_stat_database where datname = 'meridian'"),
        ask("select pg_current_wal_lsn() - '0/0'::pg_lsn"),
    )
}

fn processes_self() -> Vec<processes::Group> {
    vec![processes::Group { name: "load and watches".to_owned(), pid: std::process::id() }]
}

type Cpu = std::collections::BTreeMap<String, f64>;

fn sum(used: &[(String, f64)]) -> f64 {
    used.iter().map(|(_, seconds)| seconds).sum()
}

fn used(before: &Cpu, after: &Cpu) -> Vec<(String, f64)> {
    after.iter().map(|(name, now)| (name.clone(), now - before.get(name).copied().unwrap_or_default())).collect()
}

/// Waits until no status of an Application has been written for `QUIET`.
async fn quiet(hub: &Mark) -> anyhow::Result<()> {
    let status = |write: &crate::audit::Write| is_operator(&write.user) && write.what.contains("applications");
    testbed::eventually("status comes to rest", LONGEST, async || {
        let last = hub.writes()?.into_iter().filter(status).map(|write| write.at).max();
        let rests = last.is_none_or(|last| jiff::Timestamp::now().duration_since(last).unsigned_abs() > QUIET);
        tokio::time::sleep(Duration::from_millis(500)).await;
        Ok(rests.then_some(()))
    })
    .await
}
