//! Arguments of `meridian explain`, `meridian what-if` and `meridian rebalance`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{AppArg, ReportFlag, UnchangedFlag};

/// `meridian explain …`
#[derive(Debug, Subcommand)]
pub(crate) enum ExplainCommand {
    /// Show for each cell the rule that rejects it or that it is eligible, its numbers, and the limit that applied
    Placement {
        #[command(flatten)]
        app: AppArg,
        #[command(flatten)]
        from: FromFlag,
        #[command(flatten)]
        output: ReportFlag,
    },
}

/// Flag that makes plan commands read from files.
#[derive(Debug, Args)]
pub(crate) struct FromFlag {
    /// Read Cluster, Cell, Application and `PlacementPolicy` objects from files or folders instead of a hub
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub(crate) from: Vec<PathBuf>,
}

/// `meridian what-if`
#[derive(Debug, Args)]
pub(crate) struct WhatIfArgs {
    /// Name of the Application
    #[arg(value_name = "APP", required_unless_present_any = ["all_namespaces", "filename"])]
    pub(crate) app: Option<String>,
    /// Namespace of the Application [default: that of the hub context]
    #[arg(short, long, conflicts_with = "all_namespaces")]
    pub(crate) namespace: Option<String>,
    /// Show all Applications of all namespaces in a table
    #[arg(short = 'A', long, conflicts_with_all = ["app", "replicas", "filename"], requires = "lose")]
    pub(crate) all_namespaces: bool,
    /// Loss to assume: zone=Z, zone=REGION/Z, region=R, cluster=C or cell=C; repeat for more
    #[arg(long, value_name = "WHAT=NAME")]
    pub(crate) lose: Vec<String>,
    /// Number of replicas to assume
    #[arg(long, value_name = "N", conflicts_with = "filename")]
    pub(crate) replicas: Option<i32>,
    /// File with the changed Application; `-` is standard input
    #[arg(short, long, value_name = "FILE")]
    pub(crate) filename: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) from: FromFlag,
    #[command(flatten)]
    pub(crate) output: ReportFlag,
}

/// `meridian rebalance`
#[derive(Debug, Args)]
pub(crate) struct RebalanceArgs {
    #[command(flatten)]
    pub(crate) app: AppArg,
    /// Print the moves; change nothing
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
