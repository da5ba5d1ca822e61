//! A server that never outlives the bed.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, ensure};

/// Ends the server when the script's standard input closes, however the testing process ends.
const SUPERVISOR: &str =
    r#""$@" >&2 </dev/null & pid=$!; echo $pid; cat >/dev/null; kill -$SIGNAL $pid 2>/dev/null; wait"#;

/// A running server, or a stopped one that can be started again with the same arguments.
#[derive(Debug)]
pub struct Process {
    name: String,
    program: PathBuf,
    arguments: Vec<OsString>,
    folder: PathBuf,
    log: PathBuf,
    environment: Vec<(String, String)>,
    user: Option<&'static str>,
    signal: &'static str,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    supervisor: Child,
    pid: u32,
}

impl Process {
    /// Prepares a server that works in a folder and logs to a file there. The server is not started yet.
    pub fn new(name: &str, program: &Path, folder: &Path) -> Self {
        Self {
            name: name.to_owned(),
            program: program.to_owned(),
            arguments: Vec::new(),
            folder: folder.to_owned(),
            log: folder.join(format!("{name}.log")),
            environment: Vec::new(),
            user: None,
            signal: "KILL",
            running: None,
        }
    }

    /// Adds arguments, separated by white space.
    #[must_use]
    pub fn arguments(mut self, text: &str) -> Self {
        self.arguments.extend(text.split_whitespace().map(OsString::from));
        self
    }

    /// Adds one argument without splitting it.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(OsString::from(argument));
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets or removes an environment variable, with effect from the next start.
    pub fn set_environment(&mut self, name: &str, value: Option<&str>) {
        self.environment.retain(|(known, _)| known != name);
        self.environment.extend(value.map(|value| (name.to_owned(), value.to_owned())));
    }

    /// Runs the server as another user, which only root may do.
    #[must_use]
    pub(crate) fn user(mut self, user: Option<&'static str>) -> Self {
        self.user = user;
        self
    }

    /// Sets the signal that ends the server together with the bed. The default is KILL.
    #[must_use]
    pub fn ends_by(mut self, signal: &'static str) -> Self {
        self.signal = signal;
        self
    }

    /// Starts the server.
    ///
    /// # Errors
    /// If the server already runs or cannot be started.
    pub fn start(&mut self) -> anyhow::Result<()> {
        ensure!(self.running.is_none(), "{} runs already", self.name);
        let log = std::fs::OpenOptions::new().create(true).append(true).open(&self.log)?;
        let mut command = Command::new("setsid");
        command.args(["sh", "-c", SUPERVISOR, "supervisor"]);
        if let Some(user) = self.user {
            command.args(["setpriv", "--reuid", user, "--regid", user, "--clear-groups"]);
        }
        let mut supervisor = command
            .arg(&self.program)
            .args(&self.arguments)
            .envs(self.environment.iter().cloned())
            .env("SIGNAL", self.signal)
            .current_dir(&self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {}", self.name))?;
        let mut line = String::new();
        let output = supervisor.stdout.take().context("the supervisor has an output")?;
        BufReader::new(output).read_line(&mut line)?;
        let pid = line.trim().parse().with_context(|| format!("{}: its process id", self.name))?;
        self.running = Some(Running { supervisor, pid });
        Ok(())
    }

    /// Starts the server after it ended, whether it was stopped or ended by itself.
    ///
    /// # Errors
    /// If the server runs or cannot be started.
    pub fn start_again(&mut self) -> anyhow::Result<()> {
        ensure!(!self.is_alive(), "{} runs already", self.name);
        self.ended();
        self.start()
    }

    /// Process ID of the server while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(|running| running.pid)
    }

    /// Whether the server was started and has not ended.
    pub fn is_alive(&self) -> bool {
        self.pid().is_some_and(alive)
    }

    /// Sends TERM to the server, and waits until it has ended.
    ///
    /// # Errors
    /// If the server does not run.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        self.send("TERM")?;
        self.ended();
        Ok(())
    }

    /// Sends the server its own end signal, and waits until it has ended.
    ///
    /// # Errors
    /// If the server does not run.
    pub fn end(&mut self) -> anyhow::Result<()> {
        self.send(self.signal)?;
        self.ended();
        Ok(())
    }

    /// Kills the server, and waits until it has ended.
    ///
    /// # Errors
    /// If the server does not run.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.send("KILL")?;
        self.ended();
        Ok(())
    }

    /// Pauses the server: the kernel still accepts connections, but the server answers nothing.
    ///
    /// # Errors
    /// If the server does not run.
    pub fn pause(&self) -> anyhow::Result<()> {
        self.send("STOP")
    }

    /// Resumes a paused server.
    ///
    /// # Errors
    /// If the server does not run.
    pub fn resume(&self) -> anyhow::Result<()> {
        self.send("CONT")
    }

    /// Returns the end of the log.
    pub fn log_tail(&self, bytes: usize) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&log[log.len().saturating_sub(bytes)..]).into_owned()
    }

    /// Number of bytes logged so far.
    pub fn log_length(&self) -> u64 {
        std::fs::metadata(&self.log).map_or(0, |metadata| metadata.len())
    }

    /// Returns the log after a number of bytes.
    pub fn log_since(&self, bytes: u64) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let from = usize::try_from(bytes).unwrap_or(usize::MAX).min(log.len());
        String::from_utf8_lossy(&log[from..]).into_owned()
    }

    /// Name of the server.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn send(&self, signal: &str) -> anyhow::Result<()> {
        let pid = self.pid().with_context(|| format!("{} does not run", self.name))?;
        let sent = Command::new("kill").args(["-s", signal, &pid.to_string()]).stderr(Stdio::null()).status()?;
        ensure!(sent.success() || !alive(pid), "{} cannot be sent {signal}", self.name);
        Ok(())
    }

    /// Waits until the server and its supervisor have ended.
    fn ended(&mut self) {
        let Some(mut running) = self.running.take() else { return };
        while alive(running.pid) {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        drop(running.supervisor.stdin.take());
        let _ = running.supervisor.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(mut running) = self.running.take() {
            // A paused process cannot handle a signal and end in order.
            let _ = Command::new("kill").args(["-s", "CONT", &running.pid.to_string()]).stderr(Stdio::null()).status();
            drop(running.supervisor.stdin.take());
            let _ = running.supervisor.wait();
        }
    }
}

/// Whether a process exists and is not a zombie.
fn alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| !rest.trim_start().starts_with('Z')))
}

/// Ports of the servers, below the range that the kernel assigns to outgoing connections.
///
/// Such a connection could otherwise take a port between its choice and the start of the server.
const PORTS: std::ops::Range<u32> = 20_000..32_000;

/// Number of ports that this process has tried.
static PORTS_TAKEN: AtomicU32 = AtomicU32::new(0);

/// Returns different ports that no process listens on and that this process never returned before.
///
/// # Errors
/// If no port is free.
pub fn free_ports<const N: usize>() -> anyhow::Result<[u16; N]> {
    // The beds of two processes begin at distant ports.
    let begin = std::process::id().wrapping_mul(257);
    let mut ports = [0; N];
    for port in &mut ports {
        *port = PORTS
            .map(|_| begin.wrapping_add(PORTS_TAKEN.fetch_add(1, Ordering::Relaxed)))
            .map(|number| PORTS.start + number % (PORTS.end - PORTS.start))
            .filter_map(|number| u16::try_from(number).ok())
            .find(|number| TcpListener::bind(("127.0.0.1", *number)).is_ok())
            .context("no free port")?;
    }
    Ok(ports)
}
