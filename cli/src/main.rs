//! The `meridian` command line, also usable as `kubectl meridian` when installed as `kubectl-meridian`.

mod app;
mod args;
mod cluster;
mod documents;
mod failure;
mod hub;
mod intake;
mod mask;
mod messages;
mod op;
mod output;
mod plan;
#[cfg(test)]
mod printed;
mod progress;
mod release;
mod server;
mod shell;

use std::process::ExitCode;

use crate::args::{Cli, Command};
use crate::failure::Failure;
use crate::hub::Hub;
use crate::progress::Progress;

#[tokio::main]
async fn main() -> ExitCode {
    // Fails only if a provider is already installed, and then that provider is used.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = shell::parse();
    let progress = Progress::new(cli.global.no_color);
    match run(cli, progress).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            progress.failed(failure.to_string());
            failure.exit_code()
        }
    }
}

async fn run(cli: Cli, progress: Progress) -> Result<(), Failure> {
    let global = cli.global;
    let hub = async || Hub::open(&global).await;
    match cli.command {
        Command::Cluster(command) => cluster::run(command, hub, progress).await,
        Command::App(command) => app::run(command, hub, progress).await,
        Command::Intake(command) => intake::run(command, hub, progress).await,
        Command::Explain(command) => plan::explain::run(command, hub, progress).await,
        Command::WhatIf(args) => plan::what_if::run(args, hub, progress).await,
        Command::Rebalance(args) => plan::rebalance::run(args, hub, progress).await,
        Command::Release(args) => release::run(args, hub, progress).await,
        Command::Op(args) => op::run(&args, progress).await,
        Command::Lock(args) => op::locks(&args, progress).await,
        Command::Drain(args) => op::drain(&args, progress).await,
        Command::Login(args) => server::login(&args, progress).await,
        Command::Logout => server::logout(progress),
        Command::Whoami(args) => server::whoami(&args).await,
        Command::Completion { shell } => shell::completion(shell),
        Command::Version { output } => shell::version(output.output),
    }
}
