//! An etcd, and what a plane keeps in it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use crate::process::{Process, free_ports};

/// An etcd of one plane, or the one all planes share.
#[derive(Debug)]
pub struct EtcdStore {
    /// The server.
    pub process: Process,
    tools: PathBuf,
    data: PathBuf,
    port: u16,
    peer: u16,
}

/// What an etcd held at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    file: PathBuf,
}

/// What becomes of revisions when a snapshot is restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revisions {
    /// They go on far above everything that was ever handed out, and what lies below is compacted: every client notices.
    /// So etcd's own instructions say it is to be done.
    Bumped,
    /// They go back. A client that knows a later one waits until it is reached again, and hears nothing until then.
    GoBack,
}

/// How far revisions are raised: more than anybody writes between two snapshots.
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

    /// Keeps a copy of everything it holds. It stops for a moment: what it wrote is on disk then.
    ///
    /// # Errors
    /// When it does not run, or the copy cannot be written.
    pub fn snapshot(&mut self, name: &str) -> anyhow::Result<Snapshot> {
        let file = self.data.with_extension(format!("{name}.snapshot"));
        self.process.stop()?;
        let copied = std::fs::copy(self.data.join("member/snap/db"), &file).context("copying the database");
        self.process.start()?;
        copied?;
        Ok(Snapshot { file })
    }

    /// Goes back to a snapshot, or to nothing at all. Whoever stands on it must be stopped before and started after.
    ///
    /// # Errors
    /// When the snapshot cannot be restored.
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
