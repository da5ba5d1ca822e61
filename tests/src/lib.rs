//! An installed Meridian on a bed, as a person has it: operator, command line, joined members.

mod dependencies;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, ensure};
use crds::Application;
use kube::{Api, Client};
use serde_json::Value;
use testbed::{Bed, MemberSpec, Process, eventually, free_ports};

pub use dependencies::forbidden;

/// Longest time for anything the tests wait for.
pub const SOON: Duration = Duration::from_mins(1);

/// A fleet that was installed and joined.
pub struct Fleet {
    /// The operator's process; it ends before what it stands on.
    pub operator: Process,
    /// Servers under it.
    pub bed: Bed,
    /// Port of probes and metrics.
    pub probes: u16,
    programs: PathBuf,
}

impl Fleet {
    /// Three members in two regions and three zones, all joined.
    ///
    /// # Errors
    /// When a step does not succeed.
    pub async fn start() -> anyhow::Result<Self> {
        let bed = Bed::builder().members(MemberSpec::usual()).start().await?;
        let programs = programs()?;
        let folder = bed.folder().to_owned();
        let key = folder.join("envelope.key");
        std::fs::write(&key, "5a".repeat(32))?;
        let [probes] = free_ports()?;
        let database = bed.postgres.url();
        let migrated =
            Command::new(programs.join("meridian-operator")).args(["migrate", "--database-url", &database]).output()?;
        ensure!(migrated.status.success(), "migrate: {}", String::from_utf8_lossy(&migrated.stdout));
        let operator = Process::new("meridian-operator", &programs.join("meridian-operator"), &folder)
            .arguments(&format!(
                "--log-format text run --database-url {database} --kubeconfig {} --envelope-key-file {} \
                 --probes-address 127.0.0.1:{probes} --lease 1 --look-again 5",
                bed.hub.kubeconfig().display(),
                key.display()
            ))
            .ends_by("TERM");
        let mut fleet = Self { operator, bed, probes, programs };
        let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds/manifests");
        fleet.kubectl("hub", &["apply", "--server-side", "-f", &manifests.display().to_string()])?;
        fleet.kubectl("hub", &["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"])?;
        fleet.operator.start()?;
        for member in MemberSpec::usual() {
            fleet.join(&member)?;
        }
        Ok(fleet)
    }

    /// Joins a member through the command line.
    ///
    /// # Errors
    /// When it is refused, or not ready in time.
    pub fn join(&self, member: &MemberSpec) -> anyhow::Result<()> {
        let kubeconfig = self.bed.member(&member.name)?.kubeconfig().display().to_string();
        let zones = member.zones.join(",");
        let flags = ["--kubeconfig", &kubeconfig, "--region", &member.region, "--zone", &zones];
        self.meridian(&[&["cluster", "join", &member.name], flags.as_slice()].concat()).map(drop)
    }

    /// Runs the command line against the hub; its standard output.
    ///
    /// # Errors
    /// When it ends with another code than 0; with what it said.
    pub fn meridian(&self, arguments: &[&str]) -> anyhow::Result<String> {
        said("meridian", arguments, self.try_meridian(arguments)?)
    }

    /// Runs the command line against the hub, whatever comes of it.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn try_meridian(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        let mut command = Command::new(self.programs.join("meridian"));
        Ok(command.args(arguments).env("KUBECONFIG", self.bed.hub.kubeconfig()).output()?)
    }

    /// Runs kubectl against the hub or a member; its standard output.
    ///
    /// # Errors
    /// When it ends with another code than 0; with what it said.
    pub fn kubectl(&self, plane: &str, arguments: &[&str]) -> anyhow::Result<String> {
        said("kubectl", arguments, self.try_kubectl(plane, arguments)?)
    }

    /// Runs kubectl, whatever comes of it.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn try_kubectl(&self, plane: &str, arguments: &[&str]) -> anyhow::Result<Output> {
        let kubeconfig = if plane == "hub" { self.bed.hub.kubeconfig() } else { self.bed.member(plane)?.kubeconfig() };
        let mut command = Command::new(testbed::tools()?.join("kubectl"));
        Ok(command.arg("--kubeconfig").arg(kubeconfig).args(arguments).output()?)
    }

    /// Applies a manifest to the hub or a member.
    ///
    /// # Errors
    /// When it is refused; with the API server's message.
    pub fn apply(&self, plane: &str, manifest: &Value) -> anyhow::Result<()> {
        let outcome = self.try_apply(plane, manifest)?;
        said("kubectl", &["apply"], outcome).map(drop)
    }

    /// Applies a manifest, whatever comes of it.
    ///
    /// # Errors
    /// When kubectl cannot be run.
    pub fn try_apply(&self, plane: &str, manifest: &Value) -> anyhow::Result<Output> {
        let file = self.bed.folder().join("manifest.json");
        std::fs::write(&file, serde_json::to_vec(manifest)?)?;
        self.try_kubectl(plane, &["apply", "--server-side", "--force-conflicts", "-f", &file.display().to_string()])
    }

    /// What the operator answers on its probes port: status line, headers and body.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn probe(&self, path: &str) -> anyhow::Result<String> {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.probes))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Writes Meridian made to members so far, by their own audit logs: cluster, verb and object.
    pub fn member_writes(&self) -> Vec<String> {
        let ours = |event: &testbed::AuditEvent| {
            event.is_write()
                && event.user.starts_with("system:serviceaccount:meridian-system:")
                && !matches!(event.resource.as_str(), "serviceaccounts/token" | "selfsubjectrulesreviews")
        };
        let of = |(cluster, member): (&String, &testbed::Plane)| {
            let told = |event: testbed::AuditEvent| ours(&event).then(|| format!("{cluster}: {event:?}"));
            member.audit().events().into_iter().filter_map(told).collect::<Vec<_>>()
        };
        self.bed.members.iter().flat_map(of).collect()
    }

    /// A client of a member or the hub.
    ///
    /// # Errors
    /// When there is no such plane.
    pub async fn client(&self, plane: &str) -> anyhow::Result<Client> {
        if plane == "hub" { self.bed.hub.client().await } else { self.bed.member(plane)?.client().await }
    }

    /// Reads an object as kubectl prints it; nothing when it is not there.
    ///
    /// # Errors
    /// When kubectl fails for another reason.
    pub fn get(&self, plane: &str, kind: &str, namespace: &str, name: &str) -> anyhow::Result<Option<Value>> {
        let text = self.kubectl(
            plane,
            &["get", kind, name, "-n", namespace, "-o", "json", "--ignore-not-found", "--show-managed-fields"],
        )?;
        if text.trim().is_empty() { Ok(None) } else { Ok(Some(serde_json::from_str(&text)?)) }
    }

    /// Waits until an Application's own status says of its present spec what is wanted.
    ///
    /// # Errors
    /// When it does not in time; with the status as it was last.
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
    /// When it is not in time; with its status.
    pub async fn ready(&self, namespace: &str, name: &str) -> anyhow::Result<Application> {
        self.app_until(namespace, name, "ready", |app| {
            condition(app, "Ready").is_some_and(|(status, _)| status == "True")
        })
        .await
    }
}

/// Status and message of a condition.
pub fn condition<'a>(app: &'a Application, type_: &str) -> Option<(&'a str, &'a str)> {
    let conditions = &app.status.as_ref()?.conditions;
    let condition = conditions.iter().find(|condition| condition.type_ == type_)?;
    Some((&condition.status, &condition.message))
}

/// Replicas decided per cell, by name: `north-a=4 north-b=4`.
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

/// Folder of the built programs: the one this test was built into.
fn programs() -> anyhow::Result<PathBuf> {
    let test = std::env::current_exe()?;
    let folder = test.parent().and_then(Path::parent).context("the test lies in target/…/deps")?;
    let missing = ["meridian", "meridian-operator"].iter().find(|program| !folder.join(program).exists());
    ensure!(
        missing.is_none(),
        "{} has no {}; run `make test`, which builds it",
        folder.display(),
        missing.unwrap_or(&"")
    );
    Ok(folder.to_owned())
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the operator's last words:\n{}", self.operator.log_tail(6000));
        }
    }
}
