//! A temporary `PostgreSQL`: one primary and, on request, up to two standbys.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::process::{Process, free_ports};
use crate::tools::postgres_tools;
use crate::wait::eventually;

const START: Duration = Duration::from_secs(30);

/// User that created the database cluster and has all rights.
const ADMIN: &str = "admin";
/// User that the tested programs connect as.
///
/// As in production, the user owns its databases and has no other rights.
const OWNER: &str = "meridian";

/// Servers and their ports. They accept connections on 127.0.0.1 without a password.
#[derive(Debug)]
pub struct Postgres {
    programs: PathBuf,
    port: u16,
    /// Server that accepts writes.
    pub primary: Process,
    /// Servers that replicate the primary, with their ports.
    pub standbys: Vec<(u16, Process)>,
}

/// Returns the user to run the servers as: `PostgreSQL` refuses root, and Debian's package has a user.
fn user() -> Option<&'static str> {
    let root =
        std::fs::metadata("/proc/self").is_ok_and(|metadata| std::os::unix::fs::MetadataExt::uid(&metadata) == 0);
    root.then_some("postgres")
}

impl Postgres {
    /// Starts the primary and its standbys, with data below the folder.
    pub(crate) async fn start(folder: &Path, standbys: usize, durable: bool) -> anyhow::Result<Self> {
        ensure!(standbys <= 2, "at most two standbys");
        let programs = postgres_tools()?;
        let home = folder.join("postgres");
        std::fs::create_dir_all(&home)?;
        if let Some(user) = user() {
            run("chown", &[user, path(&home)?])?;
        }
        let data = home.join("primary");
        as_owner(
            &programs.join("initdb"),
            &["-D", path(&data)?, "-U", ADMIN, "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C"],
        )?;
        let [port] = free_ports()?;
        let mut primary = server(&programs, folder, &data, port, "postgres", durable);
        primary.start()?;
        let mut postgres = Self { programs, port, primary, standbys: Vec::new() };
        postgres.ready(port).await?;
        postgres.ask("postgres", &format!("create role {OWNER} login"))?;
        postgres.create_database("meridian")?;
        for number in 0..standbys {
            let data = home.join(format!("standby-{number}"));
            let port_text = port.to_string();
            as_owner(
                &postgres.programs.join("pg_basebackup"),
                &["-D", path(&data)?, "-R", "-X", "stream", "-h", "127.0.0.1", "-p", &port_text, "-U", ADMIN],
            )?;
            let [own] = free_ports()?;
            let mut standby = server(&postgres.programs, folder, &data, own, &format!("standby-{number}"), durable);
            standby.start()?;
            postgres.ready(own).await?;
            postgres.standbys.push((own, standby));
        }
        Ok(postgres)
    }

    /// Port of the primary.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// URL of the database `meridian` on the primary.
    pub fn url(&self) -> String {
        self.database_url("meridian")
    }

    /// URL of a database on the primary.
    pub fn database_url(&self, database: &str) -> String {
        format!("postgres://{OWNER}@127.0.0.1:{}/{database}", self.port)
    }

    /// Creates an empty database.
    ///
    /// # Errors
    /// If the database exists, or the server does not answer.
    pub fn create_database(&self, name: &str) -> anyhow::Result<()> {
        run(
            path(&self.programs.join("createdb"))?,
            &["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", ADMIN, "-O", OWNER, name],
        )
    }

    /// Runs one statement in the database `meridian` as a user who has all rights.
    ///
    /// The result is unaligned and has no headings.
    ///
    /// # Errors
    /// If the statement fails.
    pub fn query(&self, statement: &str) -> anyhow::Result<String> {
        self.ask("meridian", statement)
    }

    /// Limits the connections of the tested programs, and ends their present ones.
    ///
    /// `None` removes the limit.
    ///
    /// # Errors
    /// If the server does not answer.
    pub fn limit_connections(&self, most: Option<u16>) -> anyhow::Result<()> {
        let most = most.map_or(-1, i32::from);
        self.query(&format!("alter role {OWNER} connection limit {most}"))?;
        if most >= 0 {
            self.query(&format!("select pg_terminate_backend(pid) from pg_stat_activity where usename = '{OWNER}'"))?;
        }
        Ok(())
    }

    fn ask(&self, database: &str, statement: &str) -> anyhow::Result<String> {
        let server = format!("postgres://{ADMIN}@127.0.0.1:{}/{database}", self.port);
        let output = Command::new(self.programs.join("psql"))
            .args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", &server, "-c", statement])
            .output()?;
        ensure!(output.status.success(), "{statement}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// Waits until the primary answers after it was started again.
    ///
    /// # Errors
    /// If the primary does not answer in time.
    pub async fn answers(&self) -> anyhow::Result<()> {
        self.ready(self.port).await
    }

    async fn ready(&self, port: u16) -> anyhow::Result<()> {
        let program = self.programs.join("pg_isready");
        eventually("PostgreSQL answers", START, async || {
            let status = Command::new(&program).args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()]).status()?;
            Ok(status.success().then_some(()))
        })
        .await
        .with_context(|| self.primary.log_tail(2000))
    }
}

fn server(programs: &Path, folder: &Path, data: &Path, port: u16, name: &str, durable: bool) -> Process {
    let haste = if durable { "" } else { "-c fsync=off -c full_page_writes=off" };
    Process::new(name, &programs.join("postgres"), folder).user(user()).ends_by("INT").arguments(&format!(
        "-D {} -p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= {haste} \
             -c max_connections=200 -c log_min_messages=warning",
        data.display()
    ))
}

fn as_owner(program: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    match user() {
        Some(user) => {
            let head = ["--reuid", user, "--regid", user, "--clear-groups", path(program)?];
            run("setpriv", &[&head, arguments].concat())
        }
        None => run(path(program)?, arguments),
    }
}

fn run(program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir("/")
        .output()
        .with_context(|| format!("running {program}"))?;
    ensure!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn path(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("paths are UTF-8")
}
