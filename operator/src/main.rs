//! The operator: takes in intent, decides, delivers, observes and writes status.

mod app;
mod args;
mod hub;
mod intake;
mod leader;
mod names;
mod releases;
mod status;

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let args = args::Args::parse();
    runtime::logging::init(args.log_format.into());
    rustls::crypto::ring::default_provider().install_default().expect("no other TLS provider was installed before");
    let outcome = match args.command {
        args::Command::Run(run) => app::run(*run).await,
        args::Command::Migrate(database) => app::migrate(&database).await,
        args::Command::AcceptDatabase(database) => app::accept_database(&database).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the operator ends");
            ExitCode::FAILURE
        }
    }
}
