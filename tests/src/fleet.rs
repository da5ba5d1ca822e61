//! An installed Meridian on a bed: operators, command line and joined members.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, ensure};
use crds::Application;
use kube::{Api, Client};
use serde_json::Value;
use testbed::{AuditEvent, Bed, Gateway, GatewayMode, Link, LinkMode, MemberSpec, eventually};

use crate::api_server::ApiServer;
use crate::operator::{Operator, Times};

/// Timeout for any condition that the tests wait for.
pub const SOON: Duration = Duration::from_mins(1);

/// Plan of a fleet.
#[derive(Debug, Clone)]
pub struct FleetPlan {
    /// Members of the fleet. All of them join.
    pub members: Vec<MemberSpec>,
    /// Number of operators that run at the same time.
    pub operators: usize,
    /// Whether faults can be injected.
    ///
    /// If so, every connection of an operator goes through a link, and every plane has its own etcd.
    pub faults: bool,
    /// Time settings of the operators.
    pub times: Times,
}

impl FleetPlan {
    /// Three members in two regions and three zones, and one operator that reaches all of them directly.
    pub fn usual() -> Self {
        // Many scenarios delete objects one after the other. Other scenarios cover the deletion of many objects at
        // once.
        let times = Times { delete_window: Some(0.5), ..Times::default() };
        Self { members: MemberSpec::usual(), operators: 1, faults: false, times }
    }
}

/// Path from the operators to one member: a link, then a gateway.
#[derive(Debug)]
pub struct Way {
    /// Carries bytes.
    pub link: Link,
    /// Carries requests.
    pub gateway: Gateway,
}

/// A fleet that was installed and whose members joined.
pub struct Fleet {
    /// Processes of the operators. They are dropped first, because they use the servers of the bed.
    pub operators: Vec<Operator>,
    /// Paths to members, by member; empty unless the plan asks for faults.
    pub ways: BTreeMap<String, Way>,
    /// Servers that the fleet runs on.
    pub bed: Bed,
    /// Plan that the fleet was started from.
    pub plan: FleetPlan,
    /// Server of the API, if a scenario started it. The command line uses it.
    pub api: Option<ApiServer>,
    programs: PathBuf,
}

impl Fleet {
    /// Starts everything that the plan asks for, and joins its members.
    ///
    /// # Errors
    /// If a step fails.
    pub async fn start(plan: &FleetPlan) -> anyhow::Result<Self> {
        let builder = Bed::builder().members(plan.members.clone());
        let bed = if plan.faults { builder.own_etcd() } else { builder }.start().await?;
        let programs = programs()?;
        std::fs::write(bed.folder().join("envelope.key"), "5a".repeat(32))?;
        let migrated = Command::new(programs.join("meridian-operator"))
            .args(["migrate", "--database-url", &bed.postgres.url()])
            .output()?;
        ensure!(migrated.status.success(), "migrate: {}", String::from_utf8_lossy(&migrated.stdout));
        let mut fleet =
            Self { operators: Vec::new(), ways: BTreeMap::new(), bed, plan: plan.clone(), api: None, programs };
        fleet.install()?;
        if plan.faults {
            for member in &plan.members {
                let plane = fleet.bed.member(&member.name)?;
                let gateway = Gateway::before(plane).await?;
                let link = Link::to(gateway.port()).await?;
                fleet.ways.insert(member.name.clone(), Way { link, gateway });
            }
        }
        for _ in 0..plan.operators {
            fleet.add_operator().await?;
        }
        for member in &plan.members {
            fleet.join(member)?;
        }
        Ok(fleet)
    }

    /// Applies Meridian's CRDs to the hub, and waits until they are established.
    ///
    /// # Errors
    /// If the hub refuses them.
    pub fn install(&self) -> anyhow::Result<()> {
        let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds/manifests");
        self.kubectl("hub", &["apply", "--server-side", "-f", &manifests.display().to_string()])?;
        self.kubectl("hub", &["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"]).map(drop)
    }

    /// Starts one more operator.
    ///
    /// # Errors
    /// If the operator cannot be started.
    pub async fn add_operator(&mut self) -> anyhow::Result<&mut Operator> {
        let number = self.operators.len();
        let program = self.programs.join("meridian-operator");
        let mut operator = Operator::new(number, &program, &self.bed, self.plan.times, self.plan.faults).await?;
        operator.process.start()?;
        self.operators.push(operator);
        self.operators.last_mut().context("it was just added")
    }

    /// Starts a server of the API, if none runs; without an engine, operators run all operations.
    ///
    /// # Errors
    /// If the server does not start.
    pub async fn start_api(&mut self, has_engine: bool) -> anyhow::Result<&mut ApiServer> {
        if self.api.is_none() {
            self.api = Some(ApiServer::start(&self.programs, &self.bed, has_engine).await?);
        }
        self.api.as_mut().context("it was just started")
    }

    /// Returns the first operator, which in most fleets is the only one.
    ///
    /// # Errors
    /// If the fleet has no operator.
    pub fn operator(&mut self) -> anyhow::Result<&mut Operator> {
        self.operators.first_mut().context("the fleet has no operator")
    }

    /// Returns the path from the operators to a member.
    ///
    /// # Errors
    /// If the plan did not ask for faults, or there is no such member.
    pub fn way(&self, member: &str) -> anyhow::Result<&Way> {
        self.ways.get(member).with_context(|| format!("no way to {member} can be disturbed"))
    }

    /// Cleans up after a failed scenario, so that the next scenario does not suffer from the failure.
    ///
    /// - Keeps logs and data, and prints the end of each operator's log.
    /// - Restores links, gateways and processes as far as possible, and uncordons the members.
    pub fn failed(&mut self) {
        self.bed.keep();
        for operator in &self.operators {
            eprintln!("last words of {}:\n{}", operator.process.name(), operator.process.log_tail(4000));
        }
        eprintln!("logs and data stay in {}", self.bed.folder().display());
        for way in self.ways.values() {
            way.link.set(LinkMode::Open);
            way.gateway.set(GatewayMode::Pass);
        }
        for link in self.operators.iter().flat_map(|operator| operator.database.iter().chain(&operator.hub)) {
            link.set(LinkMode::Open);
        }
        let planes = std::iter::once(&mut self.bed.hub).chain(self.bed.members.values_mut());
        let processes = planes.flat_map(testbed::Plane::processes_mut);
        let processes = processes.chain([&mut self.bed.postgres.primary]);
        let processes = processes.chain(self.bed.etcds.values_mut().map(|etcd| &mut etcd.process));
        for process in processes.chain(self.operators.iter_mut().map(|operator| &mut operator.process)) {
            // Resuming a process that runs does no harm.
            let put_right = if process.is_alive() { process.resume() } else { process.start_again() };
            if let Err(error) = put_right {
                eprintln!("{error:#}");
            }
        }
        for member in &self.plan.members {
            if let Err(error) = self.meridian(&["cluster", "uncordon", &member.name]) {
                eprintln!("{error:#}");
            }
        }
    }

    /// Joins a member through the command line.
    ///
    /// # Errors
    /// If the join is refused, or the member is not ready in time.
    pub fn join(&self, member: &MemberSpec) -> anyhow::Result<()> {
        let kubeconfig = self.bed.member(&member.name)?.kubeconfig().display().to_string();
        let zones = member.zones.join(",");
        let mut arguments = vec!["cluster", "join", &member.name, "--kubeconfig", &kubeconfig];
        arguments.extend(["--region", &member.region, "--zone", &zones]);
        let server = self.ways.get(&member.name).map(|way| way.link.https());
        if let Some(server) = &server {
            arguments.extend(["--server", server]);
        }
        self.meridian(&arguments).map(drop)
    }

    /// Runs the command line against the hub, and returns its standard output.
    ///
    /// # Errors
    /// If the exit code is not 0. The error contains the standard error of the command.
    pub fn meridian(&self, arguments: &[&str]) -> anyhow::Result<String> {
        said("meridian", arguments, self.try_meridian(arguments)?)
    }

    /// Runs the command line against the hub, and returns its output whatever the exit code is.
    ///
    /// # Errors
    /// If the program cannot be run.
    pub fn try_meridian(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        let mut command = Command::new(self.programs.join("meridian"));
        command.args(arguments).env("KUBECONFIG", self.bed.hub.kubeconfig());
        if let Some(api) = &self.api {
            command.env("MERIDIAN_SERVER", &api.url).env("MERIDIAN_TOKEN", &api.token);
        }
        Ok(command.output()?)
    }

    /// Runs kubectl against the hub or a member, and returns its standard output.
    ///
    /// # Errors
    /// If the exit code is not 0. The error contains the standard error of kubectl.
    pub fn kubectl(&self, plane: &str, arguments: &[&str]) -> anyhow::Result<String> {
        said("kubectl", arguments, self.try_kubectl(plane, arguments)?)
    }

    /// Runs kubectl against the hub or a member, and returns its output whatever the exit code is.
    ///
    /// # Errors
    /// If kubectl cannot be run, or there is no such member.
    pub fn try_kubectl(&self, plane: &str, arguments: &[&str]) -> anyhow::Result<Output> {
        let kubeconfig = if plane == "hub" { self.bed.hub.kubeconfig() } else { self.bed.member(plane)?.kubeconfig() };
        let mut command = Command::new(testbed::tools()?.join("kubectl"));
        Ok(command.arg("--kubeconfig").arg(kubeconfig).args(arguments).output()?)
    }

    /// Applies a manifest to the hub or a member.
    ///
    /// # Errors
    /// If the API server refuses the manifest. The error contains its message.
    pub fn apply(&self, plane: &str, manifest: &Value) -> anyhow::Result<()> {
        let outcome = self.try_apply(plane, manifest)?;
        said("kubectl", &["apply"], outcome).map(drop)
    }

    /// Applies a manifest, and returns the output of kubectl whatever the exit code is.
    ///
    /// # Errors
    /// If kubectl cannot be run.
    pub fn try_apply(&self, plane: &str, manifest: &Value) -> anyhow::Result<Output> {
        let file = self.bed.folder().join("manifest.json");
        std::fs::write(&file, serde_json::to_vec(manifest)?)?;
        self.try_kubectl(plane, &["apply", "--server-side", "--force-conflicts", "-f", &file.display().to_string()])
    }

    /// Returns the response of the first operator's probes port: status line, headers and body.
    ///
    /// # Errors
    /// If no process listens on the port.
    pub fn probe(&self, path: &str) -> anyhow::Result<String> {
        self.operators.first().context("the fleet has no operator")?.probe(path)
    }

    /// Returns Meridian's writes to members so far, each with the name of the member.
    ///
    /// The writes are taken from the members' audit logs. Requests for tokens and reviews of rights are left out.
    pub fn member_events(&self) -> Vec<(String, AuditEvent)> {
        let ours = |event: &AuditEvent| {
            event.is_write()
                && event.user.starts_with("system:serviceaccount:meridian-system:")
                && !matches!(event.resource.as_str(), "serviceaccounts/token" | "selfsubjectrulesreviews")
        };
        let of = |(cluster, member): (&String, &testbed::Plane)| {
            let events = member.audit().events().into_iter().filter(ours);
            events.map(|event| (cluster.clone(), event)).collect::<Vec<_>>()
        };
        self.bed.members.iter().flat_map(of).collect()
    }

    /// Returns the writes of [`Fleet::member_events`] as text: cluster, verb and object.
    pub fn member_writes(&self) -> Vec<String> {
        self.member_events().into_iter().map(|(cluster, event)| format!("{cluster}: {event:?}")).collect()
    }

    /// Returns a client of the hub or a member.
    ///
    /// # Errors
    /// If there is no such plane.
    pub async fn client(&self, plane: &str) -> anyhow::Result<Client> {
        if plane == "hub" { self.bed.hub.client().await } else { self.bed.member(plane)?.client().await }
    }

    /// Reads an object as kubectl prints it. Returns `None` if there is no such object.
    ///
    /// # Errors
    /// If kubectl fails for another reason.
    pub fn get(&self, plane: &str, kind: &str, namespace: &str, name: &str) -> anyhow::Result<Option<Value>> {
        let text = self.kubectl(
            plane,
            &["get", kind, name, "-n", namespace, "-o", "json", "--ignore-not-found", "--show-managed-fields"],
        )?;
        if text.trim().is_empty() { Ok(None) } else { Ok(Some(serde_json::from_str(&text)?)) }
    }

    /// Waits until an Application's status fulfils a condition for the present generation of its spec.
    ///
    /// # Errors
    /// If the time is over. The error contains the last status.
    pub async fn app_until(
        &self,
        namespace: &str,
        name: &str,
        what: &str,
        wanted: impl Fn(&Application) -> bool,
    ) -> anyhow::Result<Application> {
        let apps: Api<Application> = Api::namespaced(self.client("hub").await?, namespace);
        eventually(&format!("{namespace}/{name}: {what}"), SOON, async || {
            let app = apps.get(name).await?;
            let current = app.status.as_ref().and_then(|status| status.observed_generation) == app.metadata.generation;
            if current && wanted(&app) {
                return Ok(Some(app));
            }
            anyhow::bail!("{}", serde_json::to_string_pretty(&app.status)?)
        })
        .await
    }

    /// Waits until an Application is ready.
    ///
    /// # Errors
    /// If the time is over. The error contains the last status.
    pub async fn ready(&self, namespace: &str, name: &str) -> anyhow::Result<Application> {
        self.app_until(namespace, name, "ready", |app| {
            condition(app, "Ready").is_some_and(|(status, _)| status == "True")
        })
        .await
    }
}

/// Returns status and message of a condition.
pub fn condition<'a>(app: &'a Application, type_: &str) -> Option<(&'a str, &'a str)> {
    let conditions = &app.status.as_ref()?.conditions;
    let condition = conditions.iter().find(|condition| condition.type_ == type_)?;
    Some((&condition.status, &condition.message))
}

/// Formats the replicas that are decided per cell, by name: `north-a=4 north-b=4`.
pub fn desired(app: &Application) -> String {
    let cells = app.status.as_ref().map(|status| status.cells.as_slice()).unwrap_or_default();
    let held = cells.iter().filter(|cell| cell.desired > 0);
    held.map(|cell| format!("{}={}", cell.cell, cell.desired)).collect::<Vec<_>>().join(" ")
}

fn said(program: &str, arguments: &[&str], output: Output) -> anyhow::Result<String> {
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {}: {}: {error}", arguments.join(" "), output.status);
    Ok(String::from_utf8(output.stdout)?)
}

/// Returns the folder of the built programs, which is the folder that this test was built into.
fn programs() -> anyhow::Result<PathBuf> {
    let test = std::env::current_exe()?;
    let folder = test.parent().and_then(Path::parent).context("the test lies in target/…/deps")?;
    let missing =
        ["meridian", "meridian-operator", "meridian-web-api"].iter().find(|program| !folder.join(program).exists());
    ensure!(
        missing.is_none(),
        "{} has no {}; run `make test`, which builds it",
        folder.display(),
        missing.unwrap_or(&"")
    );
    Ok(folder.to_owned())
}
