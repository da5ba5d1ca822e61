//! The server of the REST API, and the engine of operations.

mod app;
mod args;
mod tokens;

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
        args::Command::Token(command) => tokens::token(command).await,
        args::Command::Role(command) => tokens::role(command).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the program ends");
            ExitCode::FAILURE
        }
    }
}
