//! `member-sim`: serves simulated members until the process is ended.

use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;
use sim::{Config, Simulation};

/// Serves simulated member API servers.
#[derive(Debug, Parser)]
struct Args {
    /// Number of simulated members.
    #[arg(long)]
    members: usize,
    /// Number of zones. Members are assigned to them in turn.
    #[arg(long, default_value_t = 3)]
    zones: usize,
    /// Port of 127.0.0.1 that serves all members.
    #[arg(long)]
    port: u16,
    /// File that receives the certificate of the authority as soon as all members are served.
    #[arg(long)]
    ca: PathBuf,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let config = Config { members: args.members, zones: args.zones, port: args.port };
    let simulation = Simulation::start(&config).await?;
    std::fs::write(&args.ca, &simulation.ca_pem).with_context(|| format!("writing {}", args.ca.display()))?;
    std::future::pending::<()>().await;
    Ok(())
}
