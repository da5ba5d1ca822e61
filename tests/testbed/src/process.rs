//! A server that never outlives the bed.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, ensure};

/// Ends the server when its own standard input closes, however this process ends.
const SUPERVISOR: &str =
    r#""$@" >&2 </dev/null & pid=$!; echo $pid; cat >/dev/null; kill -$SIGNAL $pid 2>/dev/null; wait"#;

/// A running server, or one that was stopped and can be started again with the same arguments.
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
    /// A server that works in a folder and logs to a file there. It is not started yet.
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

    /// Adds one argument as it is.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(OsString::from(argument));
        self
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets a variable of its environment, or removes it, from the next start on.
    pub fn set_environment(&mut self, name: &str, value: Option<&str>) {
        self.environment.retain(|(known, _)| known != name);
        self.environment.extend(value.map(|value| (name.to_owned(), value.to_owned())));
    }

    /// Runs it as another user; only root may.
    #[must_use]
    pub(crate) fn user(mut self, user: Option<&'static str>) -> Self {
        self.user = user;
        self
    }

    /// Signal that ends it with the bed; KILL when not said.
    #[must_use]
    pub fn ends_by(mut self, signal: &'static str) -> Self {
        self.signal = signal;
        self
    }

    /// Starts it.
    ///
    /// # Errors
    /// When it runs already or cannot be started.
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

    /// Starts it after it has ended, by itself or not.
    ///
    /// # Errors
    /// When it runs, or cannot be started.
    pub fn start_again(&mut self) -> anyhow::Result<()> {
        ensure!(!self.is_alive(), "{} runs already", self.name);
        self.ended();
        self.start()
    }

    /// Its process id while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(|running| running.pid)
    }

    /// Whether it was started and has not ended by itself.
    pub fn is_alive(&self) -> bool {
        self.pid().is_some_and(alive)
    }

    /// Asks it to end, and waits until it has.
    ///
    /// # Errors
    /// When it does not run.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        self.send("TERM")?;
        self.ended();
        Ok(())
    }

    /// Ends it by the signal it is to end by, and waits until it has.
    ///
    /// # Errors
    /// When it does not run.
    pub fn end(&mut self) -> anyhow::Result<()> {
        self.send(self.signal)?;
        self.ended();
        Ok(())
    }

    /// Ends it at once.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.send("KILL")?;
        self.ended();
        Ok(())
    }

    /// Stops it where it stands: connections are accepted and nothing is answered.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pause(&self) -> anyhow::Result<()> {
        self.send("STOP")
    }

    /// Lets a paused one go on.
    ///
    /// # Errors
    /// When it does not run.
    pub fn resume(&self) -> anyhow::Result<()> {
        self.send("CONT")
    }

    /// The end of its log.
    pub fn log_tail(&self, bytes: usize) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&log[log.len().saturating_sub(bytes)..]).into_owned()
    }

    /// Bytes logged so far.
    pub fn log_length(&self) -> u64 {
        std::fs::metadata(&self.log).map_or(0, |metadata| metadata.len())
    }

    /// What it logged after so many bytes.
    pub fn log_since(&self, bytes: u64) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let from = usize::try_from(bytes).unwrap_or(usize::MAX).min(log.len());
        String::from_utf8_lossy(&log[from..]).into_owned()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn send(&self, signal: &str) -> anyhow::Result<()> {
        let pid = self.pid().with_context(|| format!("{} does not run", self.name))?;
        let sent = Command::new("kill").args(["-s", signal, &pid.to_string()]).stderr(Stdio::null()).status()?;
        ensure!(sent.success() || !alive(pid), "{} cannot be sent {signal}", self.name);
        Ok(())
    }

    /// Waits for the server and its supervisor.
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
            // A stopped process cannot act on a signal that lets it end in order.
            let _ = Command::new("kill").args(["-s", "CONT", &running.pid.to_string()]).stderr(Stdio::null()).status();
            drop(running.supervisor.stdin.take());
            let _ = running.supervisor.wait();
        }
    }
}

/// Whether a process exists and is no zombie.
fn alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| !rest.trim_start().starts_with('Z')))
}

/// Ports of the servers: below those the kernel gives to outgoing connections, which would
/// otherwise take one between the choice and the server's start.
const PORTS: std::ops::Range<u32> = 20_000..32_000;

/// How many ports this process has looked at.
static PORTS_TAKEN: AtomicU32 = AtomicU32::new(0);

/// Ports nobody listens on, and that this process never gave before; all different.
///
/// # Errors
/// When there are none.
pub fn free_ports<const N: usize>() -> anyhow::Result<[u16; N]> {
    // Beds of two processes begin far from each other.
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
