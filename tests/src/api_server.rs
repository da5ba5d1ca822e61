//! The process of the API server.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use testbed::{Bed, Process, eventually, free_ports};

/// Timeout for the server to answer after its start.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// A server of the API with a token of a person who may do everything.
#[derive(Debug)]
pub struct ApiServer {
    /// Process of the server.
    pub process: Process,
    /// URL of the server.
    pub url: String,
    /// Token of `person/alice`, an admin.
    pub token: String,
}

impl ApiServer {
    /// Starts a server on the database and the hub of a bed, and waits until it answers.
    ///
    /// Without an engine, operators run all operations.
    pub(crate) async fn start(programs: &Path, bed: &Bed, has_engine: bool) -> anyhow::Result<Self> {
        let program = programs.join("meridian-web-api");
        let token = Command::new(&program)
            .args(["token", "create", "--bootstrap", "--name", "tests", "--subject", "person/alice", "--role", "admin"])
            .args(["--database-url", &bed.postgres.url()])
            .output()?;
        ensure!(token.status.success(), "token create: {}", String::from_utf8_lossy(&token.stderr));
        let token = String::from_utf8(token.stdout)?.trim().to_owned();
        let [port, probes] = free_ports()?;
        let folder = bed.folder().join("web-api");
        std::fs::create_dir_all(&folder)?;
        let mut process = Process::new("web-api", &program, &folder)
            .arguments(&format!(
                "--log-format text run --database-url {} --envelope-key-file {} --hub-kubeconfig {} --lease 1 \
                 --listen 127.0.0.1:{port} --probes-address 127.0.0.1:{probes} {}",
                bed.postgres.url(),
                bed.folder().join("envelope.key").display(),
                bed.hub.kubeconfig().display(),
                if has_engine { "" } else { "--no-engine" },
            ))
            .ends_by("TERM");
        process.start()?;
        let answers = async || Ok(std::net::TcpStream::connect(("127.0.0.1", port)).ok());
        eventually("the API server listens", START_TIMEOUT, answers).await.with_context(|| process.log_tail(2_000))?;
        Ok(Self { process, url: format!("http://127.0.0.1:{port}"), token })
    }
}
