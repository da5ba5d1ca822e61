//! Entry point of `make bench`: runs the benchmark and writes the values as JSON and the page.
//!
//! A short run only prints the JSON.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use bench::{Runs, Scale, Scenario, run, write_page};
use clap::{Parser, ValueEnum};

/// Measures Meridian with the workload that was measured on its peer.
#[derive(Debug, Parser)]
struct Args {
    /// Scenarios to measure [default: all].
    scenarios: Vec<Scenario>,
    /// Number of runs, each on a new test bed.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Run every scenario with the smallest sizes, to check that it works.
    #[arg(long, env = "BENCH_SHORT", value_parser = clap::builder::FalseyValueParser::new())]
    short: bool,
    /// Number of Applications created at once, instead of the 500 of the peer.
    #[arg(long)]
    applications: Option<usize>,
    /// Number of single edits of each kind, instead of the 50 of the peer.
    #[arg(long)]
    edits: Option<usize>,
    /// Numbers of simulated members in the cold restart, each measured by itself [default: those of the page].
    #[arg(long, value_delimiter = ',')]
    restart_members: Option<Vec<usize>>,
    /// Numbers of simulated members that receive one change, each measured by itself [default: those of the page].
    #[arg(long, value_delimiter = ',')]
    change_members: Option<Vec<usize>>,
    /// File of the page. With `--short` no page is written.
    #[arg(long, default_value = "docs/figures.md")]
    page: PathBuf,
    /// File of the values. With `--join` the values of this run are added to those of the file.
    #[arg(long, default_value = "target/bench.json")]
    json: PathBuf,
    /// Add to the values of the JSON file instead of replacing them.
    #[arg(long)]
    join: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let scenarios =
        if args.scenarios.is_empty() { Scenario::value_variants().to_vec() } else { args.scenarios.clone() };
    let mut scale = if args.short { Scale::short() } else { Scale::full() };
    scale.applications = args.applications.unwrap_or(scale.applications);
    scale.edits = args.edits.unwrap_or(scale.edits);
    scale.restart_members = args.restart_members.unwrap_or(scale.restart_members);
    scale.change_members = args.change_members.unwrap_or(scale.change_members);
    let mut runs = Runs::default();
    if args.join && args.json.exists() {
        runs = Runs::parse(&serde_json::from_slice(&std::fs::read(&args.json)?)?);
    }
    let count = if args.short { 1 } else { args.runs };
    let surroundings = surroundings();
    for number in 1..=count {
        println!("run {number} of {count}");
        runs.take(run(&scenarios, &scale).await?);
        // Files are written after every run, so that a failure of a later run loses no measurement.
        let json = serde_json::to_string_pretty(&runs.json(&surroundings))?;
        if !args.short {
            std::fs::write(&args.json, json)?;
            write_page(&args.page, &runs, &surroundings)?;
        } else if number == count {
            println!("{json}");
        }
    }
    Ok(())
}

/// Describes the machine and the versions of all programs.
fn surroundings() -> BTreeMap<String, String> {
    let field = |file: &str, name: &str| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
        line.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    };
    let said = |program: &Path, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().ok();
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
    };
    let tools = testbed::tools().unwrap_or_default();
    let postgres = testbed::postgres_tools().unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    [
        (
            "Machine",
            format!(
                "{cores} cores, {}; {} memory",
                field("/proc/cpuinfo", "model name"),
                field("/proc/meminfo", "MemTotal")
            ),
        ),
        ("System", said(Path::new("uname"), &["-sr"])),
        (
            "Meridian",
            format!("{} at {}", env!("CARGO_PKG_VERSION"), said(Path::new("git"), &["rev-parse", "--short", "HEAD"])),
        ),
        ("Kubernetes", said(&tools.join("kube-apiserver"), &["--version"])),
        ("etcd", said(&tools.join("etcd"), &["--version"]).lines().next().unwrap_or_default().to_owned()),
        ("kwok", said(&tools.join("kwok"), &["--version"])),
        ("PostgreSQL", said(&postgres.join("postgres"), &["--version"])),
        ("Rust", said(Path::new("rustc"), &["--version"])),
        (
            "Disk",
            "PostgreSQL waits for every commit to be on disk; the test bed's etcds do not (the peer's did)".to_owned(),
        ),
        ("Day", said(Path::new("date"), &["-u", "+%F"])),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}
