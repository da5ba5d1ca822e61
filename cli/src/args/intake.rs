//! Arguments of `meridian intake`.

use clap::{Args, Subcommand};

use super::{ReportFlag, UnchangedFlag};

/// `meridian intake …`
#[derive(Debug, Subcommand)]
pub(crate) enum IntakeCommand {
    /// Accept the object on the hub as the source of an Application whose source was lost
    Accept(AcceptArgs),
}

/// `meridian intake accept`
#[derive(Debug, Args)]
pub(crate) struct AcceptArgs {
    /// Name of the Application
    #[arg(value_name = "APP", required_unless_present = "all", conflicts_with = "all")]
    pub(crate) app: Option<String>,
    /// Namespace of the Application [default: that of the hub context]
    #[arg(short, long, conflicts_with = "all")]
    pub(crate) namespace: Option<String>,
    /// Accept every Application of every namespace that waits for acceptance
    #[arg(long)]
    pub(crate) all: bool,
    /// Print what would change; change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask for confirmation
    #[arg(short, long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) unchanged: UnchangedFlag,
    #[command(flatten)]
    pub(crate) output: ReportFlag,
}
