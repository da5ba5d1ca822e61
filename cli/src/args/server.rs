//! Arguments of `meridian login`, and flags of the commands that use the server of the API.

use std::path::PathBuf;

use clap::Args;

use super::ReportFlag;

/// Which server is used, and as whom.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ServerFlags {
    /// URL of the server [default: `MERIDIAN_SERVER`, or that of the last login]
    #[arg(long, global = true, value_name = "URL", env = "MERIDIAN_SERVER", hide_env = true)]
    pub(crate) server: Option<String>,
    /// File with the token [default: `MERIDIAN_TOKEN`, or that of the last login]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// PEM file with the only CAs to trust [default: that of the last login, else those of the system]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Send the token in clear text too, to a server without https
    #[arg(long, global = true)]
    pub(crate) insecure: bool,
}

/// `meridian login`
#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    /// URL of the server, such as `https://meridian.example`
    #[arg(value_name = "URL")]
    pub(crate) url: String,
    /// File with the token [default: `MERIDIAN_TOKEN`]
    #[arg(long, value_name = "FILE", conflicts_with = "token_stdin")]
    pub(crate) token_file: Option<PathBuf>,
    /// Read the token from standard input
    #[arg(long)]
    pub(crate) token_stdin: bool,
    /// PEM file with the only CAs to trust [default: those of the system]
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Send the token in clear text too, to a server without https
    #[arg(long)]
    pub(crate) insecure: bool,
}

/// `meridian whoami`
#[derive(Debug, Args)]
pub(crate) struct WhoamiArgs {
    #[command(flatten)]
    pub(crate) server: ServerFlags,
    #[command(flatten)]
    pub(crate) output: ReportFlag,
}
