//! `testbed up` starts a bed like that of the tests for a person; `testbed down` ends it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::{Args, Parser};
use testbed::{Bed, MemberSpec};
use tokio::signal::unix::{SignalKind, signal};

/// A hub, three members and a database, without containers.
#[derive(Debug, Parser)]
#[command(name = "testbed", disable_help_subcommand = true)]
enum Verb {
    /// Start a hub, three members and a database, and leave them running
    Up(Place),
    /// Stop the hub, the members and the database of a folder
    Down(Place),
    /// Start a hub, three members and a database, and stop them at a signal
    Hold(Place),
}

/// Argument that selects the bed.
#[derive(Debug, Args)]
struct Place {
    /// Folder of data, logs and kubeconfigs; `up` empties it first
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

const LONGEST_START: Duration = Duration::from_mins(4);

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Verb::parse() {
        Verb::Up(place) => up(&place.folder).await,
        Verb::Down(place) => down(&place.folder).await,
        Verb::Hold(place) => hold(&place.folder).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("testbed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn pid_file(folder: &Path) -> PathBuf {
    folder.join("testbed.pid")
}

/// Returns the process ID of the bed that runs in the folder.
fn running(folder: &Path) -> Option<u32> {
    let pid: u32 = std::fs::read_to_string(pid_file(folder)).ok()?.trim().parse().ok()?;
    let command = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
    (command.contains("testbed") && command.contains("hold")).then_some(pid)
}

async fn up(folder: &Path) -> anyhow::Result<()> {
    ensure!(running(folder).is_none(), "a bed runs in {} already; end it with `testbed down`", folder.display());
    if folder.exists() {
        std::fs::remove_dir_all(folder)
            .with_context(|| format!("removing what an earlier bed left in {}", folder.display()))?;
    }
    testbed::tools()?;
    std::fs::create_dir_all(folder)?;
    let log = std::fs::File::create(folder.join("testbed.log"))?;
    let mut child = Command::new("setsid")
        .arg(std::env::current_exe()?)
        .args(["hold", "--"])
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()?;
    let begun = Instant::now();
    while !folder.join("ready").exists() {
        if let Some(status) = child.try_wait()? {
            bail!("the bed did not start ({status}): {}", std::fs::read_to_string(folder.join("testbed.log"))?);
        }
        ensure!(
            begun.elapsed() < LONGEST_START,
            "the bed did not start in time; see {}",
            folder.join("testbed.log").display()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    print!("{}", std::fs::read_to_string(folder.join("ready"))?);
    Ok(())
}

async fn down(folder: &Path) -> anyhow::Result<()> {
    let Some(pid) = running(folder) else {
        println!("no bed runs in {}", folder.display());
        return Ok(());
    };
    Command::new("kill").args(["-s", "TERM", &pid.to_string()]).status()?;
    let begun = Instant::now();
    while running(folder).is_some() {
        ensure!(begun.elapsed() < Duration::from_mins(1), "the bed (process {pid}) does not end");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    println!("the bed in {} has ended", folder.display());
    Ok(())
}

async fn hold(folder: &Path) -> anyhow::Result<()> {
    let begun = Instant::now();
    std::fs::create_dir_all(folder)?;
    std::fs::write(pid_file(folder), std::process::id().to_string())?;
    let mut end = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let start = Bed::builder().folder(folder).members(MemberSpec::usual()).start();
    let bed = tokio::select! {
        bed = start => bed?,
        _ = end.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    let mut text = Vec::new();
    for plane in std::iter::once(&bed.hub).chain(bed.members.values()) {
        let kubeconfig = bed.folder().join(format!("{}.kubeconfig", plane.name()));
        std::fs::copy(plane.kubeconfig(), &kubeconfig)?;
        writeln!(text, "{:10} {}", plane.name(), kubeconfig.display())?;
    }
    std::fs::write(bed.folder().join("database.url"), bed.postgres.url())?;
    writeln!(text, "{:10} {}", "database", bed.postgres.url())?;
    writeln!(text, "started in {} s", begun.elapsed().as_secs())?;
    std::fs::write(folder.join("ready.new"), text)?;
    std::fs::rename(folder.join("ready.new"), folder.join("ready"))?;
    tokio::select! { _ = end.recv() => {}, _ = interrupt.recv() => {} }
    drop(bed);
    let _ = std::fs::remove_file(folder.join("ready"));
    let _ = std::fs::remove_file(pid_file(folder));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_never_taken_for_folders() {
        for (line, folder) in [
            ("testbed up .testbed", Some(".testbed")),
            ("testbed hold -- --odd", Some("--odd")),
            ("testbed up --help", None),
            ("testbed down -x", None),
            ("testbed up", None),
            ("testbed up a b", None),
        ] {
            let parsed = Verb::try_parse_from(line.split(' ')).ok().map(|verb| match verb {
                Verb::Up(place) | Verb::Down(place) | Verb::Hold(place) => place.folder,
            });
            assert_eq!(parsed.as_deref(), folder.map(Path::new), "{line}");
        }
    }
}
