//! Arguments of `meridian explain`, `meridian what-if` and `meridian rebalance`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{AppArg, ReportFlag, UnchangedFlag};

/// `meridian explain …`
#[derive(Debug, Subcommand)]
pub(crate) enum ExplainCommand {
    /// Per cell: eligible or the rule that rejected it, the numbers, and which limit bound
    Placement {
        #[command(flatten)]
        app: AppArg,
        #[command(flatten)]
        from: FromFlag,
        #[command(flatten)]
        output: ReportFlag,
    },
}

/// Where plan commands read from.
#[derive(Debug, Args)]
pub(crate) struct FromFlag {
    /// Read Cluster, Cell, Application and `PlacementPolicy` objects from files or folders, not from a hub
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
    /// All Applications of all namespaces, as a table
    #[arg(short = 'A', long, conflicts_with_all = ["app", "replicas", "filename"], requires = "lose")]
    pub(crate) all_namespaces: bool,
    /// What is lost: zone=Z, zone=REGION/Z, region=R, cluster=C or cell=C; repeat for more
    #[arg(long, value_name = "WHAT=NAME")]
    pub(crate) lose: Vec<String>,
    /// Replicas asked for
    #[arg(long, value_name = "N", conflicts_with = "filename")]
    pub(crate) replicas: Option<i32>,
    /// The Application as it would be changed; `-` is standard input
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
    /// Show the moves only
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) unchanged: UnchangedFlag,
    #[command(flatten)]
    pub(crate) output: ReportFlag,
}
