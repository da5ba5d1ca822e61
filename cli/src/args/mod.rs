//! Arguments of the command line.

mod app;
mod cluster;
mod drain;
mod flags;
mod intake;
mod op;
mod plan;
mod release;
mod server;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

pub(crate) use app::{AppCommand, ConfirmArgs, DeleteArgs, ImportArgs, ManifestForm};
pub(crate) use cluster::{
    ClusterCommand, DrainArgs, JoinArgs, MemberFlags, PermissionsArgs, RemoveArgs, ReplaceArgs, UninstallArgs,
};
pub(crate) use drain::{DrainOperationArgs, DrainPlace};
pub(crate) use flags::{
    AppArg, ConsentFlags, OutputFlag, PauseFlag, ReportFlag, UnchangedFlag, WaitFlags, WaitIfAskedFlags,
};
pub(crate) use intake::{AcceptArgs, IntakeCommand};
pub(crate) use op::{
    AbortArgs, ControlArgs, LockArgs, LockCommand, OpArgs, OpCommand, OpEventsArgs, OpListArgs, OpWaitArgs, UndoArgs,
};
pub(crate) use plan::{ExplainCommand, RebalanceArgs, WhatIfArgs};
pub(crate) use release::{
    AppDiffArgs, ImageOf, ReleaseArgs, ReleaseCommand, ReleaseStartArgs, ReleaseStatusArgs, ReleaseVerbArgs,
    RollbackArgs,
};
pub(crate) use server::{LoginArgs, ServerFlags, WhoamiArgs};

use crate::failure::after_help;

/// Meridian: many Kubernetes clusters behind one API.
#[derive(Debug, Parser)]
#[command(name = "meridian", version, after_help = after_help(), disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags of every command.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Kubeconfig of the hub [default: KUBECONFIG, or ~/.kube/config]
    #[arg(long, global = true, value_name = "FILE", env = "MERIDIAN_HUB_KUBECONFIG", hide_env = true)]
    pub(crate) hub_kubeconfig: Option<PathBuf>,
    /// Context of the hub in that kubeconfig [default: its current context]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) hub_context: Option<String>,
    /// Print no colours, even where the terminal supports them
    #[arg(long, global = true)]
    pub(crate) no_color: bool,
}

/// Commands of `meridian`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Manage member clusters: join, list, cordon, drain, remove
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// Manage Applications: list, wait, import, delete
    #[command(subcommand)]
    App(AppCommand),
    /// Accept Applications whose source was lost
    #[command(subcommand)]
    Intake(IntakeCommand),
    /// Explain the decisions of the scheduler
    #[command(subcommand)]
    Explain(ExplainCommand),
    /// Show what the scheduler would decide after a loss or a change; nothing is changed
    WhatIf(WhatIfArgs),
    /// Move replicas to where a fresh placement would put them
    Rebalance(RebalanceArgs),
    /// Release an Application in batches: start, watch, pause, take back
    Release(ReleaseArgs),
    /// Operations: look, wait, pause, cancel, take back
    Op(OpArgs),
    /// Locks that operations hold
    Lock(LockArgs),
    /// Empty a cluster, a zone or a cell, as an operation that can be paused and taken back
    Drain(DrainOperationArgs),
    /// Store a server and a token for the commands about operations
    Login(LoginArgs),
    /// Delete the stored server and token
    Logout,
    /// Show the subject of the token, with its roles and rights
    Whoami(WhoamiArgs),
    /// Print the completion script of a shell
    Completion {
        /// Name of the shell
        shell: Shell,
    },
    /// Print the version
    Version {
        #[command(flatten)]
        output: ReportFlag,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_that_waits_waits_in_the_same_way() {
        let mut waiting = Vec::new();
        let mut left = vec![(String::new(), Cli::command())];
        while let Some((path, command)) = left.pop() {
            left.extend(command.get_subcommands().map(|sub| (format!("{path} {}", sub.get_name()), sub.clone())));
            let wait = command.get_arguments().find(|arg| arg.get_id() == "wait");
            let timeout = command.get_arguments().find(|arg| arg.get_id() == "timeout");
            // Operations may take days, so a command that only waits has no limit of its own.
            if !path.starts_with(" op ") {
                assert_eq!(wait.is_some(), timeout.is_some(), "{path}: --wait and --timeout belong together");
            }
            if let (Some(wait), Some(timeout)) = (wait, timeout) {
                assert_eq!(timeout.get_default_values(), ["5m"], "{path}");
                assert_eq!(wait.get_num_args().map(|range| range.min_values()), Some(0), "{path}: --wait alone waits");
                waiting.push(format!("{path} {}", wait.get_default_values()[0].to_string_lossy()).trim().to_owned());
            }
        }
        waiting.sort();
        assert_eq!(
            waiting,
            [
                "app delete true",
                "app rollback false",
                "app status false",
                "cluster drain false",
                "cluster join true",
                "cluster remove true",
                "cluster replace true",
                "cluster update-credential true",
                "drain false",
                "release start false",
            ]
        );
    }

    #[test]
    fn wrong_usage_is_told_before_anything_happens() {
        for line in [
            "meridian",
            "meridian cluster join north",
            "meridian cluster join North --kubeconfig f",
            "meridian cluster join north --kubeconfig f --profile root",
            "meridian cluster drain north --timeout 5m",
            "meridian cluster drain north --wait --timeout soon",
            "meridian cluster drain north --wait --timeout -5s",
            "meridian cluster drain north --wait=soon",
            "meridian cluster join north --kubeconfig f --wait 60s",
            "meridian cluster remove north --timeout 0s",
            "meridian cluster remove north --gone --delete-workloads",
            "meridian app list -n shop -A",
            "meridian release start web --image web",
            "meridian release start web --image web=w:2 --patch f",
            "meridian release start web --exit-on-pause",
            "meridian release status",
            "meridian app rollback web --wait --dry-run",
            "meridian what-if",
            "meridian what-if -A",
            "meridian what-if catalog -A --lose zone=n1",
            "meridian what-if catalog -f x.yaml --replicas 3",
            "meridian cluster permissions north",
            "meridian cluster permissions --kind apps/v1/Deployment",
            "meridian cluster permissions north --kubeconfig f --profile deploy",
            "meridian app import shop --cluster north deploy/web",
            "meridian app import shop --cluster north --kubeconfig f",
            "meridian explain placement catalog -o name",
            "meridian app status catalog -o name",
            "meridian intake accept",
            "meridian intake accept shop --all",
            "meridian op wait east",
            "meridian op wait 0198c0de-0000-7000-8000-000000000001 --timeout 0s",
            "meridian drain east",
            "meridian drain cluster/east --max-parallel 0",
            "meridian drain cluster/east --hold --wait",
            "meridian drain cluster/east --exit-on-pause",
            "meridian login",
            "meridian login https://m.example --token-file f --token-stdin",
        ] {
            assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }

    #[test]
    fn the_documented_forms_are_accepted() {
        for line in [
            "meridian cluster join north --kubeconfig f --region n --zone n1,n2 --zone n3 --profile observe,deploy",
            "meridian cluster ls --hub-context hub -o wide",
            "meridian --hub-kubeconfig f app status catalog -n shop --wait --timeout 1h30m",
            "meridian cluster rm north --gone --yes --wait=false",
            "meridian cluster join north --kubeconfig f --timeout 30s",
            "meridian cluster replace north --kubeconfig f --wait --timeout 30s",
            "meridian cluster update-credential north --kubeconfig f --wait=false",
            "meridian app delete shop --wait=false --exit-on-pause",
            "meridian cluster cordon north --error-unchanged",
            "meridian cluster rm north --dry-run -o yaml",
            "meridian cluster drain north --dry-run",
            "meridian cluster drain north --yes --wait --timeout 5m -o json",
            "meridian cluster uncordon north -o json",
            "meridian app delete shop --dry-run -o json",
            "meridian explain placement catalog --from a.yaml b.yaml",
            "meridian what-if catalog --lose zone=n1 --lose cluster=s --replicas 3",
            "meridian what-if -f changed.yaml",
            "meridian what-if -A --lose region=north",
            "meridian rebalance catalog --dry-run",
            "meridian completion zsh",
            "meridian cluster permissions --profile deploy",
            "meridian cluster permissions north --kubeconfig f --kind example.org/v1/Widget --app shop -n shop -o json",
            "meridian app import shop -n shop --cluster north --kubeconfig f --context n deploy/web cm/web --dry-run",
            "meridian app import shop --cluster north --kubeconfig f -l app=web -o json",
            "meridian app confirm-delete shop -n shop",
            "meridian app confirm-delete shop --plan 0123456789abcdef0123456789abcdef --yes",
            "meridian intake accept shop -n shop --dry-run",
            "meridian intake accept --all --yes",
            "meridian login https://m.example --token-stdin --ca ca.pem",
            "meridian whoami -o json",
            "meridian op ls --state Running --kind drain -o wide",
            "meridian op wait operation/0198c0de-0000-7000-8000-000000000001 --timeout 1h --exit-on-pause -o name",
            "meridian op events 0198c0de-0000-7000-8000-000000000001 -f -o json --server https://m.example",
            "meridian op skip 0198c0de-0000-7000-8000-000000000001 --step move --target cell/a --reason broken",
            "meridian op abort 0198c0de-0000-7000-8000-000000000001 --timeout 1m",
            "meridian release start web -n shop --image web=web:2 --image web/proxy=p:3 --wait --timeout 1h --exit-on-pause",
            "meridian release start web -n shop --patch change.yaml --dry-run -o json",
            "meridian release start web --reason again",
            "meridian release status web -n shop -w -o json --server https://m.example",
            "meridian release skip web -n shop --reason broken",
            "meridian release undo web -n shop -o name",
            "meridian app diff web -n shop --to 0123456789",
            "meridian app rollback web -n shop --to 0123456789 --force-conflicts --dry-run",
            "meridian app rollback web --wait --timeout 1h",
            "meridian lock list",
            "meridian drain zone/eu/a --dry-run --max-parallel 2 -o yaml",
            "meridian drain cell/east-a --reason maintenance --wait --timeout 2h --exit-on-pause",
        ] {
            if let Err(error) = Cli::try_parse_from(line.split(' ')) {
                panic!("{line}: {error}");
            }
        }
    }
}
