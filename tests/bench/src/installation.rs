//! Installs Meridian on a test bed as in production.
//!
//! Production means a release build, default timers, and commits that wait for the disk.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use crds::Application;
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt};
use testbed::{Bed, MemberSpec, PlaneProcess, Process, eventually, free_ports};

use crate::processes::{Group, argument};
use crate::witness::Witness;

const SOON: Duration = Duration::from_mins(2);
/// Time without a decision or a write to a member after which the operator counts as idle.
const RESTS: Duration = Duration::from_secs(1);

/// Names of the members.
pub(crate) const MEMBERS: [&str; 3] = ["m1", "m2", "m3"];

/// A hub, members, and the operator.
#[derive(Debug)]
pub struct Installation {
    /// The operator; declared first, so that it ends before the servers that it uses.
    pub operator: Process,
    /// Servers of hub, members and database.
    pub bed: Bed,
    probes: u16,
    programs: PathBuf,
}

impl Installation {
    /// Starts the operator on a hub with three members that have joined.
    ///
    /// Each member is in a zone of its own and has `nodes` nodes.
    ///
    /// # Errors
    /// When a step fails.
    pub async fn start(nodes: usize) -> anyhow::Result<Self> {
        let members: Vec<MemberSpec> = MEMBERS
            .iter()
            .enumerate()
            .map(|(number, name)| MemberSpec {
                nodes_per_zone: nodes,
                cpu: "32".to_owned(),
                memory: "256Gi".to_owned(),
                ..MemberSpec::new(name, "r1", &[&format!("z{}", number + 1)])
            })
            .collect();
        let installation = Self::bare(members.clone()).await?;
        for member in &members {
            let kubeconfig = installation.bed.member(&member.name)?.kubeconfig().display().to_string();
            let zones = member.zones.join(",");
            installation.meridian(&[
                "cluster",
                "join",
                &member.name,
                "--kubeconfig",
                &kubeconfig,
                "--region",
                &member.region,
                "--zone",
                &zones,
            ])?;
        }
        Ok(installation)
    }

    /// Starts the operator on a hub whose members have not joined.
    ///
    /// # Errors
    /// When a step fails.
    pub async fn bare(members: Vec<MemberSpec>) -> anyhow::Result<Self> {
        let programs = programs()?;
        let bed = Bed::builder().members(members).own_etcd().durable().start().await?;
        let folder = bed.folder().to_owned();
        let key = folder.join("envelope.key");
        std::fs::write(&key, "5a".repeat(32))?;
        let [probes] = free_ports()?;
        let database = bed.postgres.url();
        let migrated =
            Command::new(programs.join("meridian-operator")).args(["migrate", "--database-url", &database]).output()?;
        ensure!(migrated.status.success(), "migrate: {}", String::from_utf8_lossy(&migrated.stdout));
        // The extension counts statements where the server has the module; no measurement depends on it.
        let _ = bed.postgres.query("create extension if not exists pg_stat_statements");
        let operator = Process::new("meridian-operator", &programs.join("meridian-operator"), &folder)
            .arguments(&format!(
                "--log-format text run --database-url {database} --kubeconfig {} --envelope-key-file {} --probes-address 127.0.0.1:{probes}",
                bed.hub.kubeconfig().display(),
                key.display()
            ))
            .ends_by("TERM");
        let mut installation = Self { operator, bed, probes, programs };
        let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crds/manifests");
        installation.kubectl(&["apply", "--server-side", "-f", &manifests.display().to_string()])?;
        installation.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"])?;
        installation.operator.start()?;
        Ok(installation)
    }

    /// Installs the admission policy: the hub then adds the finalizer to Applications at creation.
    ///
    /// # Errors
    /// When the hub refuses the policy, or does not apply it in time.
    pub(crate) async fn finalizers_at_birth(&self) -> anyhow::Result<()> {
        let policy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crds/admission");
        self.kubectl(&["apply", "--server-side", "-f", &policy.display().to_string()])?;
        let api = Api::<Application>::namespaced(self.hub().await?, "default");
        let try_it = PostParams { dry_run: true, ..PostParams::default() };
        let object = crate::load::application("default", "try", 1)?;
        eventually("objects are born with a finalizer", SOON, async || {
            let born = api.create(&try_it, &object).await?;
            Ok((!born.finalizers().is_empty()).then_some(()))
        })
        .await
    }

    /// Runs kubectl against the hub and returns its standard output.
    ///
    /// # Errors
    /// When kubectl ends with an exit code other than 0; the error contains its standard error.
    pub fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new(testbed::tools()?.join("kubectl"));
        said(command.arg("--kubeconfig").arg(self.bed.hub.kubeconfig()).args(arguments))
    }

    /// Runs the `meridian` command line against the hub and returns its standard output.
    ///
    /// # Errors
    /// When the command ends with an exit code other than 0; the error contains its standard error.
    pub fn meridian(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new(self.programs.join("meridian"));
        said(command.args(arguments).env("KUBECONFIG", self.bed.hub.kubeconfig()))
    }

    /// Returns the folder of the built programs.
    pub(crate) fn programs(&self) -> &Path {
        &self.programs
    }

    /// Returns a counter of the operator, summed over its labels.
    ///
    /// # Errors
    /// When the operator does not answer.
    pub(crate) fn counter(&self, name: &str) -> anyhow::Result<f64> {
        let text = get(self.probes, "/metrics")?;
        let of = |line: &str| {
            let rest = line.strip_prefix(name)?;
            rest.starts_with(['{', ' ']).then(|| rest.rsplit(' ').next()?.parse::<f64>().ok()).flatten()
        };
        Ok(text.lines().filter_map(of).sum())
    }

    /// Waits until the operator has made no decision and no write to a member for a second.
    ///
    /// Returns the time since which the operator has been idle.
    pub(crate) async fn idle(&self) -> anyhow::Result<Instant> {
        let mut last = (f64::NAN, f64::NAN);
        let mut since = Instant::now();
        eventually("nothing is left to do", SOON, async || {
            let now =
                (self.counter("meridian_schedule_decisions_total")?, self.counter("meridian_delivery_applied_total")?);
            if now != last {
                (last, since) = (now, Instant::now());
            }
            Ok((since.elapsed() > RESTS).then_some(since))
        })
        .await
    }

    /// Starts watches on all members.
    pub(crate) async fn witness(&self) -> anyhow::Result<Witness> {
        let mut clients = Vec::new();
        for (name, plane) in &self.bed.members {
            clients.push((name.clone(), plane.client().await?));
        }
        Ok(Witness::new(clients))
    }

    /// Returns a client of the hub with its own connection.
    pub(crate) async fn hub(&self) -> anyhow::Result<Client> {
        self.bed.hub.client().await
    }

    /// Returns the process groups of Meridian's plane: operator, database, and the servers of the hub.
    pub(crate) fn plane(&self) -> anyhow::Result<Vec<Group>> {
        let mut groups = vec![
            group("operator", &self.operator)?,
            group("postgres", &self.bed.postgres.primary)?,
            group("hub etcd", &self.bed.etcds.get("hub").context("an etcd of the hub")?.process)?,
        ];
        for process in self.bed.hub.processes() {
            groups.push(group(&format!("hub {}", process.name().trim_start_matches("kube-")), process)?);
        }
        Ok(groups)
    }

    /// Returns the process groups of the members; the groups join all members by program.
    pub(crate) fn member_groups(&self) -> anyhow::Result<Vec<Group>> {
        let mut groups = Vec::new();
        for (name, plane) in &self.bed.members {
            for process in plane.processes() {
                groups.push(group(&format!("members {}", process.name().trim_start_matches("kube-")), process)?);
            }
            groups.push(group("members etcd", &self.bed.etcds.get(name).context("an etcd of the member")?.process)?);
        }
        Ok(groups)
    }

    /// Returns the bytes that Meridian's database and the hub's etcd use.
    ///
    /// # Errors
    /// When one of the two does not answer.
    pub(crate) fn stored(&self) -> anyhow::Result<(f64, f64)> {
        let database = self.bed.postgres.query("select pg_database_size('meridian')")?.parse()?;
        let etcd = self.bed.etcds.get("hub").and_then(|etcd| etcd.process.pid()).context("an etcd of the hub")?;
        let url = argument(etcd, "--listen-client-urls")?;
        let port = url.rsplit(':').next().and_then(|port| port.parse().ok()).context("a port")?;
        let text = get(port, "/metrics")?;
        let used = text
            .lines()
            .find_map(|line| line.strip_prefix("etcd_mvcc_db_total_size_in_use_in_bytes "))
            .context("etcd says how much it uses")?;
        Ok((database, used.trim().parse()?))
    }

    /// Pauses controllers, scheduler and nodes of all members.
    ///
    /// The members' API servers then serve only requests from outside the member.
    ///
    /// # Errors
    /// When a process cannot be paused.
    pub(crate) fn hold_member_controllers(&self) -> anyhow::Result<()> {
        let others = self.bed.members.values().flat_map(testbed::Plane::processes);
        others.filter(|process| process.name() != "kube-apiserver").try_for_each(Process::pause)
    }

    /// Returns the API server process of a member.
    pub(crate) fn member_api(&mut self, name: &str) -> anyhow::Result<&mut Process> {
        self.bed.member_mut(name)?.process(PlaneProcess::Api)
    }
}

fn group(name: &str, process: &Process) -> anyhow::Result<Group> {
    Ok(Group { name: name.to_owned(), pid: process.pid().with_context(|| format!("{name} runs"))? })
}

fn said(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output()?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// Reads a page from a port on 127.0.0.1 and returns its body.
fn get(port: u16, path: &str) -> anyhow::Result<String> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_, body) = answer.split_once("\r\n\r\n").context("an answer")?;
    Ok(body.to_owned())
}

/// Finds the folder of the built programs: the folder of this program or its parent.
fn programs() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let folders = own.ancestors().skip(1).take(2);
    folders
        .map(Path::to_owned)
        .find(|folder| folder.join("meridian-operator").exists() && folder.join("meridian").exists())
        .context("meridian and meridian-operator are not built beside this program; `make bench` builds them")
}
