//! An etcd that stores the data of planes.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use crate::process::{Process, free_ports};

/// An etcd of one plane, or one that all planes share.
#[derive(Debug)]
pub struct EtcdStore {
    /// Process of the server.
    pub process: Process,
    tools: PathBuf,
    data: PathBuf,
    port: u16,
    peer: u16,
}

/// Copy of all data of an etcd at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    file: PathBuf,
}

/// Treatment of revisions when a snapshot is restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revisions {
    /// Revisions continue far above every revision that was ever assigned.
    ///
    /// Lower revisions are compacted, so every client notices the restore. The instructions of etcd demand this.
    Bumped,
    /// Revisions go back.
    ///
    /// A client that has seen a later revision waits until that revision is reached again, and receives nothing until
    /// then.
    GoBack,
}

/// Number by which revisions are raised: more than all writes between two snapshots.
const BUMP: &str = "1000000000";

impl EtcdStore {
    pub(crate) fn start(tools: &Path, folder: &Path, name: &str) -> anyhow::Result<Self> {
        let [port, peer] = free_ports()?;
        let data = folder.join(format!("etcd-{name}"));
        let mut process = Process::new(&format!("etcd-{name}"), &tools.join("etcd"), folder).arguments(&format!(
            "--name n --data-dir {} --listen-client-urls http://127.0.0.1:{port} \
             --advertise-client-urls http://127.0.0.1:{port} --listen-peer-urls http://127.0.0.1:{peer} \
             --initial-advertise-peer-urls http://127.0.0.1:{peer} --initial-cluster n=http://127.0.0.1:{peer} \
             --unsafe-no-fsync --quota-backend-bytes=2147483648 --log-level=error",
            data.display()
        ));
        process.start()?;
        Ok(Self { process, tools: tools.to_owned(), data, port, peer })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Copies all data of the etcd. The etcd stops for a moment, so that all its writes are on disk.
    ///
    /// # Errors
    /// If the etcd does not run, or the copy cannot be written.
    pub fn snapshot(&mut self, name: &str) -> anyhow::Result<Snapshot> {
        let file = self.data.with_extension(format!("{name}.snapshot"));
        self.process.stop()?;
        let copied = std::fs::copy(self.data.join("member/snap/db"), &file).context("copying the database");
        self.process.start()?;
        copied?;
        Ok(Snapshot { file })
    }

    /// Restores a snapshot, or an empty state.
    ///
    /// The servers that use the etcd must be stopped before and started afterwards.
    ///
    /// # Errors
    /// If the snapshot cannot be restored.
    pub(crate) fn restore(&mut self, snapshot: Option<&Snapshot>, revisions: Revisions) -> anyhow::Result<()> {
        if self.process.is_alive() {
            self.process.stop()?;
        }
        std::fs::remove_dir_all(&self.data)?;
        if let Some(snapshot) = snapshot {
            let peer = format!("http://127.0.0.1:{}", self.peer);
            let bump: &[&str] = match revisions {
                Revisions::Bumped => &["--bump-revision", BUMP, "--mark-compacted"],
                Revisions::GoBack => &[],
            };
            let restored = Command::new(self.tools.join("etcdutl"))
                .args(["snapshot", "restore", "--skip-hash-check", "--name", "n"])
                .args(bump)
                .args(["--initial-cluster", &format!("n={peer}"), "--initial-advertise-peer-urls", &peer])
                .arg("--data-dir")
                .arg(&self.data)
                .arg(&snapshot.file)
                .output()?;
            ensure!(restored.status.success(), "etcdutl: {}", String::from_utf8_lossy(&restored.stderr));
        }
        self.process.start()
    }
}
