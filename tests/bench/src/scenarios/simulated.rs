//! Measures simulated members: one change to many of them, and a cold restart with all of them.
//!
//! Hub and database are real.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, ensure};
use crds::{Application, Cluster};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use serde_json::json;
use testbed::{Process, eventually, free_ports};

use super::{NAMESPACE, Scale};
use crate::figures::Figures;
use crate::installation::Installation;
use crate::{load, processes, spread};

const LONGEST: Duration = Duration::from_mins(15);
/// Maximum number of single changes to all members.
const CHANGES: usize = 10;
/// Number of zones.
///
/// With several zones of unequal size, a spread need not send every change to all members.
const ZONES: usize = 1;
const SYSTEM: &str = "meridian-system";

pub(super) async fn run(scale: &Scale, figures: &mut Figures) -> anyhow::Result<()> {
    let sizes: BTreeSet<usize> = scale.change_members.iter().chain(&scale.restart_members).copied().collect();
    for members in sizes {
        let bed = Simulated::start(members).await?;
        if scale.change_members.contains(&members) {
            changes(&bed, members, scale, figures).await?;
        }
        if scale.restart_members.contains(&members) {
            restart(bed, members, scale.restart_placements, figures).await?;
        }
    }
    Ok(())
}

/// Measures repeated changes that add one replica in each member to an Application.
async fn changes(bed: &Simulated, members: usize, scale: &Scale, figures: &mut Figures) -> anyhow::Result<()> {
    let hub = bed.installation.hub().await?;
    let api = Api::<Application>::namespaced(hub, NAMESPACE);
    let name = "changed";
    api.create(&PostParams::default(), &load::application(NAMESPACE, name, members as i32)?).await?;
    bed.placed(members).await?;
    bed.installation.idle().await?;
    bed.writes()?;
    let mut times = Vec::new();
    for change in 0..CHANGES.min(scale.edits) {
        let begun = SystemTime::now();
        load::scale(&api, name, ((change + 2) * members) as i32).await?;
        let mut shown: BTreeMap<String, u64> = BTreeMap::new();
        eventually("all members are written to", LONGEST, async || {
            for (member, at) in bed.writes()? {
                shown.entry(member).or_insert(at);
            }
            Ok((shown.len() == members).then_some(()))
        })
        .await?;
        let begun = micros(begun);
        times.extend(shown.into_values().map(|at| Duration::from_micros(at.saturating_sub(begun))));
        bed.installation.idle().await?;
        // Writes that follow from this change must not count for the next change.
        tokio::time::sleep(Duration::from_millis(500)).await;
        bed.writes()?;
    }
    spread::add(figures, &format!("simulated.change_{members}"), times);
    Ok(())
}

/// Places all replicas, then restarts the operator, which reads everything again.
async fn restart(mut bed: Simulated, members: usize, placements: usize, figures: &mut Figures) -> anyhow::Result<()> {
    let name = format!("simulated.restart_{members}");
    let begun = Instant::now();
    let clients = load::clients(&bed.installation.bed.hub).await?;
    load::create(&clients, NAMESPACE, placements, members as i32).await?;
    let total = members * placements;
    bed.placed(total).await?;
    figures.add(&format!("{name}.placements"), total as f64);
    figures.add(&format!("{name}.placed_s"), begun.elapsed().as_secs_f64());
    bed.settled(total).await?;
    bed.installation.idle().await?;
    bed.installation.operator.stop()?;
    bed.writes()?;
    let started = Instant::now();
    bed.installation.operator.start()?;
    let pid = bed.installation.operator.pid().context("it runs")?;
    bed.followed(members).await?;
    figures.add(&format!("{name}.followed_s"), started.elapsed().as_secs_f64());
    let followed = Instant::now();
    let quiet = bed.installation.idle().await?.max(followed);
    figures.add(&format!("{name}.quiet_s"), (quiet - started).as_secs_f64());
    figures.add(&format!("{name}.load"), processes::load());
    let group = [processes::Group { name: "operator".to_owned(), pid }];
    figures.add(&format!("{name}.cpu_s"), processes::cpu(&group).values().sum());
    figures.add(&format!("{name}.rss_mb"), processes::peaks(&group).values().sum());
    tokio::time::sleep(Duration::from_secs(5)).await;
    figures.add(&format!("{name}.writes"), bed.writes()?.len() as f64);
    Ok(())
}

/// A hub with an operator, and simulated members that have joined.
struct Simulated {
    installation: Installation,
    _members: Process,
    control: String,
    ca: std::path::PathBuf,
}

impl Simulated {
    async fn start(members: usize) -> anyhow::Result<Self> {
        let installation = Installation::bare(Vec::new()).await?;
        let folder = installation.bed.folder().to_owned();
        let [port] = free_ports()?;
        let ca = folder.join("simulated-ca.crt");
        let mut process = Process::new("member-sim", &installation.programs().join("member-sim"), &folder)
            .arguments(&format!("--members {members} --zones {ZONES} --port {port} --ca {}", ca.display()));
        process.start()?;
        eventually("simulated members serve", LONGEST, async || Ok(ca.exists().then_some(()))).await?;
        let bed = Self { installation, _members: process, control: format!("https://127.0.0.1:{port}/control"), ca };
        bed.join(members, port).await?;
        Ok(bed)
    }

    /// Creates the objects that `cluster join` creates on the hub, and waits until all members are ready.
    async fn join(&self, members: usize, port: u16) -> anyhow::Result<()> {
        use base64::Engine;
        let hub = self.installation.hub().await?;
        for name in [SYSTEM, NAMESPACE] {
            let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": name}}))?;
            match Api::<Namespace>::all(hub.clone()).create(&PostParams::default(), &namespace).await {
                // The operator may have created its namespace already.
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                made => drop(made?),
            }
        }
        let ca = base64::engine::general_purpose::STANDARD.encode(std::fs::read(&self.ca)?);
        let clusters = Api::<Cluster>::all(hub.clone());
        let secrets = Api::<Secret>::namespaced(hub, SYSTEM);
        let now = Timestamp::now();
        let ends = now.checked_add(SignedDuration::from_hours(24 * 7))?;
        for number in 0..members {
            let name = sim::member_name(number);
            let cluster: Cluster = serde_json::from_value(json!({
                "apiVersion": "fleet.meridian.io/v1alpha1", "kind": "Cluster", "metadata": {"name": name},
                "spec": {
                    "region": "r1", "zones": ["z0"], "uid": format!("simulated-{name}"),
                    "connection": {"server": format!("https://127.0.0.1:{port}/members/{name}"), "certificateAuthorityData": ca},
                },
            }))?;
            clusters.create(&PostParams::default(), &cluster).await?;
            let secret: Secret = serde_json::from_value(json!({
                "metadata": {"name": format!("credential-{name}"), "labels": {"fleet.meridian.io/credential-for": name}},
                "stringData": {"token": "simulated", "issuedAt": now.to_string(), "expiresAt": ends.to_string(),
                    "connection": serde_json::to_string(&cluster.spec.connection)?},
            }))?;
            secrets
                .patch(&format!("credential-{name}"), &PatchParams::apply("bench").force(), &Patch::Apply(&secret))
                .await?;
        }
        eventually("all simulated members are ready", LONGEST, async || {
            let ready = clusters.list(&ListParams::default()).await?.items.iter().filter(|one| is_ready(one)).count();
            ensure!(ready == members, "{ready} of {members}");
            Ok(Some(()))
        })
        .await
    }

    /// Returns each member that received writes since the last call.
    ///
    /// The number is the time of the member's first write, in microseconds since 1970.
    fn writes(&self) -> anyhow::Result<Vec<(String, u64)>> {
        // The benchmark has no HTTP/2 client of its own; curl suffices for a rare request.
        let output = Command::new("curl")
            .args(["-s", "--cacert"])
            .arg(&self.ca)
            .arg(format!("{}/writes", self.control))
            .output()
            .context("running curl")?;
        let answer: BTreeMap<String, Vec<serde_json::Value>> = serde_json::from_slice(&output.stdout)?;
        let first = |writes: &[serde_json::Value]| writes.iter().filter_map(|one| one["at"].as_u64()).min();
        Ok(answer.into_iter().filter_map(|(member, writes)| Some((member, first(&writes)?))).collect())
    }

    /// Waits until `total` objects are delivered and available.
    async fn placed(&self, total: usize) -> anyhow::Result<()> {
        let count = "select count(*) from placement p join placement_status s on s.placement = p.id
                     where s.state = 'Applied' and s.observed_epoch = p.plan_epoch and s.available >= p.target";
        eventually("everything is placed", LONGEST, async || {
            let there: usize = self.installation.bed.postgres.query(count)?.parse()?;
            ensure!(there >= total, "{there} of {total}");
            Ok(Some(()))
        })
        .await
    }

    /// Waits until the status of all Applications shows `total` ready replicas.
    async fn settled(&self, total: usize) -> anyhow::Result<()> {
        let api = Api::<Application>::namespaced(self.installation.hub().await?, NAMESPACE);
        eventually("status shows it", LONGEST, async || {
            let apps = api.list(&ListParams::default()).await?.items;
            let ready: i32 = apps.iter().filter_map(|app| Some(app.status.as_ref()?.ready)).sum();
            ensure!(usize::try_from(ready)? >= total, "{ready} of {total}");
            Ok(Some(()))
        })
        .await
    }

    /// Waits until every member is listed completely and is being watched.
    async fn followed(&self, members: usize) -> anyhow::Result<()> {
        eventually("every member is followed", LONGEST, async || {
            let there = self.installation.counter("meridian_delivery_followed")?;
            ensure!(there >= members as f64, "{there} of {members}");
            Ok(Some(()))
        })
        .await
    }
}

fn is_ready(cluster: &Cluster) -> bool {
    let conditions = cluster.status.iter().flat_map(|status| &status.conditions);
    conditions.into_iter().any(|one| one.type_ == "Ready" && one.status == "True")
}

fn micros(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}
