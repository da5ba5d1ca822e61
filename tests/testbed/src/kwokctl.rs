//! A cluster that kwokctl makes, as a user would, and not the bed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::ensure;

use crate::process::{Process, free_ports};
use crate::tools::tools;
use crate::wait::eventually;

const START: Duration = Duration::from_mins(2);

/// Makes the cluster, waits for a signal and deletes the cluster again.
///
/// The servers of kwokctl have no parent process that ends them. The `sleep` also ends with the script: otherwise it
/// would hold inherited handles, such as a lock of the caller.
const SCRIPT: &str = r#"
"$KWOKCTL" --name "$NAME" delete cluster >/dev/null 2>&1
trap '"$KWOKCTL" --name "$NAME" delete cluster; kill $! 2>/dev/null; exit 0' TERM
"$KWOKCTL" --name "$NAME" create cluster --config config.yaml --kubeconfig "$KWOK_WORKDIR/kubeconfig" --wait 90s \
  && "$KWOKCTL" --name "$NAME" scale node n --replicas 2 && touch made
sleep infinity & wait
"#;

/// A cluster made by kwokctl from the bed's own binaries, below a folder.
///
/// Dropping it ends the cluster.
#[derive(Debug)]
pub struct KwokCluster {
    process: Process,
    folder: PathBuf,
}

impl KwokCluster {
    /// Makes a cluster with two simulated nodes, and waits until the cluster answers.
    ///
    /// # Errors
    /// If kwokctl does not make the cluster. The error contains the end of its log.
    pub async fn start(below: &Path, name: &str) -> anyhow::Result<Self> {
        let tools = tools()?;
        let folder = below.join(format!("kwokctl-{name}"));
        std::fs::create_dir_all(&folder)?;
        let [api, etcd, manager, scheduler, controller] = free_ports()?;
        let binary = |program: &str| tools.join(program).display().to_string();
        let config = serde_json::json!({
            "kind": "KwokctlConfiguration", "apiVersion": "config.kwok.x-k8s.io/v1alpha1",
            "options": {
                "runtime": "binary", "bindAddress": "127.0.0.1", "kubeVersion": "v1.36.1",
                "kubeApiserverPort": api, "etcdPort": etcd, "kubeControllerManagerPort": manager,
                "kubeSchedulerPort": scheduler, "kwokControllerPort": controller,
                "kubeApiserverBinary": binary("kube-apiserver"), "kubeControllerManagerBinary": binary("kube-controller-manager"),
                "kubeSchedulerBinary": binary("kube-scheduler"), "etcdBinary": binary("etcd"),
                "kubectlBinary": binary("kubectl"), "kwokControllerBinary": binary("kwok"),
            },
        });
        std::fs::write(folder.join("config.yaml"), config.to_string())?;
        let mut process = Process::new("kwokctl", Path::new("/bin/bash"), &folder)
            .argument("-c")
            .argument(SCRIPT)
            .environment("KWOKCTL", &binary("kwokctl"))
            .environment("NAME", name)
            .environment("KWOK_WORKDIR", &folder.display().to_string())
            .environment("HOME", &folder.display().to_string())
            .ends_by("TERM");
        process.start()?;
        let cluster = Self { process, folder };
        eventually("kwokctl makes a cluster", START, async || {
            if cluster.folder.join("made").exists() {
                return Ok(Some(()));
            }
            ensure!(cluster.process.is_alive(), "kwokctl ended");
            Ok(None)
        })
        .await
        .map_err(|error| error.context(cluster.process.log_tail(3000)))?;
        Ok(cluster)
    }

    /// Runs kubectl against the cluster, and returns its standard output.
    ///
    /// # Errors
    /// If the exit code is not 0. The error contains the standard error of kubectl.
    pub fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = Command::new(tools()?.join("kubectl"))
            .arg("--kubeconfig")
            .arg(self.kubeconfig())
            .args(arguments)
            .output()?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "kubectl {}: {error}", arguments.join(" "));
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Kubeconfig that kwokctl wrote.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }
}
