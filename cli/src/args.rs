//! The command line: what can be typed, and nothing else.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use crds::cluster::v1alpha1::Profile;
use vocabulary::ClusterName;

use crate::failure::EXIT_CODES;
use crate::output::Format;

/// Meridian: many Kubernetes clusters behind one API.
#[derive(Debug, Parser)]
#[command(name = "meridian", version, after_help = EXIT_CODES, disable_help_subcommand = true)]
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
    /// No colours, also where the terminal could show them
    #[arg(long, global = true)]
    pub(crate) no_color: bool,
}

/// The form of the output.
#[derive(Debug, Args)]
pub(crate) struct OutputFlag {
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
}

/// One Application of a namespace.
#[derive(Debug, Args)]
pub(crate) struct AppArg {
    /// Name of the Application
    #[arg(value_name = "APP")]
    pub(crate) name: String,
    /// Namespace of the Application [default: that of the hub context]
    #[arg(short, long)]
    pub(crate) namespace: Option<String>,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Member clusters: join, look, cordon, drain, remove
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// Applications: look, wait, import, delete
    #[command(subcommand)]
    App(AppCommand),
    /// Which objects of the hub count
    #[command(subcommand)]
    Intake(IntakeCommand),
    /// Why things are as they are
    #[command(subcommand)]
    Explain(ExplainCommand),
    /// What would happen if a zone were lost, or an Application changed; nothing is changed
    WhatIf(WhatIfArgs),
    /// Move replicas to where a fresh placement would put them
    Rebalance(RebalanceArgs),
    /// Print completions of a shell
    Completion {
        /// The shell
        shell: Shell,
    },
    /// Print the version
    Version {
        #[command(flatten)]
        output: OutputFlag,
    },
}

/// `meridian cluster …`
#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Put a cluster under Meridian, or update one that already is
    Join(JoinArgs),
    /// All clusters in a table
    #[command(visible_alias = "ls")]
    List {
        #[command(flatten)]
        output: OutputFlag,
    },
    /// Everything known of one cluster
    Describe {
        /// Name of the cluster
        #[arg(value_name = "CLUSTER")]
        name: ClusterName,
        #[command(flatten)]
        output: OutputFlag,
    },
    /// No new replicas; what runs stays
    Cordon {
        /// Name of the cluster
        #[arg(value_name = "CLUSTER")]
        name: ClusterName,
    },
    /// Allow new replicas again; ends a drain too. Nothing moves back by itself
    Uncordon {
        /// Name of the cluster
        #[arg(value_name = "CLUSTER")]
        name: ClusterName,
    },
    /// Move all replicas away, each only after its successor is available elsewhere
    Drain {
        /// Name of the cluster
        #[arg(value_name = "CLUSTER")]
        name: ClusterName,
        /// Wait until no Application shows replicas there
        #[arg(long)]
        wait: bool,
        /// Longest time to wait
        #[arg(long, value_name = "TIME", default_value = "10m", value_parser = time, requires = "wait")]
        timeout: Duration,
    },
    /// Take a cluster out of the fleet
    #[command(visible_alias = "rm")]
    Remove(RemoveArgs),
    /// Put another cluster under a name that is taken
    Replace(ReplaceArgs),
    /// Hand over a fresh credential for a cluster
    UpdateCredential {
        /// Name of the cluster
        #[arg(value_name = "CLUSTER")]
        name: ClusterName,
        #[command(flatten)]
        member: MemberFlags,
        /// Longest time to wait until the hub has taken it
        #[arg(long, value_name = "TIME", default_value = "60s", value_parser = time)]
        wait: Duration,
    },
    /// What a member grants us against what is needed; without CLUSTER, the rights of profiles as YAML
    Permissions(PermissionsArgs),
}

/// `meridian cluster permissions`
#[derive(Debug, Args)]
pub(crate) struct PermissionsArgs {
    /// Name of the cluster to ask
    #[arg(value_name = "CLUSTER", requires = "kubeconfig", conflicts_with = "profile")]
    pub(crate) name: Option<ClusterName>,
    /// Kubeconfig of the member, with the right to ask what others may do there
    #[arg(long, value_name = "FILE", requires = "name")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Context of the member in that kubeconfig [default: its current context]
    #[arg(long, value_name = "NAME", requires = "name")]
    pub(crate) context: Option<String>,
    /// Profiles to print [default: all]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PROFILE")]
    pub(crate) profile: Vec<ProfileArg>,
    /// A kind that is to be delivered too, such as apps/v1/Deployment; repeat for more
    #[arg(long, value_name = "GROUP/VERSION/KIND", requires = "name")]
    pub(crate) kind: Vec<String>,
    /// An Application whose kinds are to be delivered
    #[arg(long, value_name = "APP", requires = "name")]
    pub(crate) app: Option<String>,
    /// Namespace of that Application [default: that of the hub context]
    #[arg(short, long, requires = "app")]
    pub(crate) namespace: Option<String>,
    #[command(flatten)]
    pub(crate) output: OutputFlag,
}

impl PermissionsArgs {
    /// How the member is reached.
    pub(crate) fn member(&self) -> Option<MemberFlags> {
        self.kubeconfig.clone().map(|kubeconfig| MemberFlags { kubeconfig, context: self.context.clone() })
    }
}

/// How a person reaches a member, with their own credentials.
#[derive(Debug, Args)]
pub(crate) struct MemberFlags {
    /// Kubeconfig of the member, with administrator rights there
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: PathBuf,
    /// Context of the member in that kubeconfig [default: its current context]
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,
}

/// `meridian cluster join`
#[derive(Debug, Args)]
pub(crate) struct JoinArgs {
    /// Name of the cluster in the fleet
    #[arg(value_name = "NAME")]
    pub(crate) name: ClusterName,
    #[command(flatten)]
    pub(crate) member: MemberFlags,
    /// Region the cluster lies in; may be left out when it joined before
    #[arg(long)]
    pub(crate) region: Option<String>,
    /// Zones the cluster lies in; repeat or separate by commas
    #[arg(long = "zone", value_name = "ZONE", value_delimiter = ',')]
    pub(crate) zones: Vec<String>,
    /// What Meridian may do there [default: observe,deploy]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PROFILE")]
    pub(crate) profile: Vec<ProfileArg>,
    /// URL under which the hub reaches the member, where it differs from the kubeconfig's
    #[arg(long, value_name = "URL")]
    pub(crate) server: Option<String>,
    /// Longest time to wait until the cluster is ready; 0s does not wait
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = time)]
    pub(crate) wait: Duration,
    /// Check everything and say what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// `meridian cluster replace`
#[derive(Debug, Args)]
pub(crate) struct ReplaceArgs {
    /// Name of the cluster
    #[arg(value_name = "CLUSTER")]
    pub(crate) name: ClusterName,
    #[command(flatten)]
    pub(crate) member: MemberFlags,
    /// URL under which the hub reaches the member, where it differs from the kubeconfig's
    #[arg(long, value_name = "URL")]
    pub(crate) server: Option<String>,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Longest time to wait until the cluster is ready; 0s does not wait
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = time)]
    pub(crate) wait: Duration,
    /// Check everything and say what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// `meridian cluster remove`
#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    /// Name of the cluster
    #[arg(value_name = "CLUSTER")]
    pub(crate) name: ClusterName,
    /// Delete what Meridian delivered there; without it workloads stay and run on
    #[arg(long)]
    pub(crate) delete_workloads: bool,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Longest time to wait until the cluster is gone; 0s does not wait
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = time)]
    pub(crate) timeout: Duration,
}

/// A profile, as typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProfileArg {
    /// Read nodes, namespaces, pods and workloads
    Observe,
    /// Write the workload kinds Meridian delivers
    Deploy,
}

impl From<ProfileArg> for Profile {
    fn from(profile: ProfileArg) -> Self {
        match profile {
            ProfileArg::Observe => Self::Observe,
            ProfileArg::Deploy => Self::Deploy,
        }
    }
}

/// `meridian app …`
#[derive(Debug, Subcommand)]
pub(crate) enum AppCommand {
    /// Applications in a table
    #[command(visible_alias = "ls")]
    List {
        /// Namespace [default: that of the hub context]
        #[arg(short, long, conflicts_with = "all_namespaces")]
        namespace: Option<String>,
        /// Applications of all namespaces
        #[arg(short = 'A', long)]
        all_namespaces: bool,
        /// Label selector
        #[arg(short = 'l', long)]
        selector: Option<String>,
        #[command(flatten)]
        output: OutputFlag,
    },
    /// Everything known of one Application
    Describe {
        #[command(flatten)]
        app: AppArg,
        #[command(flatten)]
        output: OutputFlag,
    },
    /// Numbers per cell. Ends with 0 when ready, 1 when not
    Status {
        #[command(flatten)]
        app: AppArg,
        /// Wait until ready
        #[arg(short, long)]
        wait: bool,
        /// Longest time to wait
        #[arg(long, value_name = "TIME", default_value = "5m", value_parser = time, requires = "wait")]
        timeout: Duration,
        #[command(flatten)]
        output: OutputFlag,
    },
    /// Revisions, and which of them may be rolled back to
    History {
        #[command(flatten)]
        app: AppArg,
        #[command(flatten)]
        output: OutputFlag,
    },
    /// Delete an Application and, unless its deletion policy says Orphan, what it delivered
    Delete {
        #[command(flatten)]
        app: AppArg,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
        /// Longest time to wait until it is gone; 0s does not wait
        #[arg(long, value_name = "TIME", default_value = "5m", value_parser = time)]
        timeout: Duration,
    },
    /// Allow deletes that wait because they are many. Ends with 4 when only asked what waits
    ConfirmDelete {
        #[command(flatten)]
        app: AppArg,
        /// Hash of the plan, as shown without it
        #[arg(long, value_name = "HASH")]
        plan: Option<String>,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
        #[command(flatten)]
        output: OutputFlag,
    },
    /// Make an Application from what runs in a member; nothing moves and nothing restarts
    Import(ImportArgs),
}

/// `meridian app import`
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// Name of the Application to make
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Namespace of the objects, and of the Application [default: that of the hub context]
    #[arg(short, long)]
    pub(crate) namespace: Option<String>,
    /// Cluster of the fleet in which the objects are
    #[arg(long, value_name = "CLUSTER")]
    pub(crate) cluster: ClusterName,
    #[command(flatten)]
    pub(crate) member: MemberFlags,
    /// Objects as KIND/NAME, such as deploy/web; a KIND alone goes with --selector
    #[arg(value_name = "KIND/NAME", required_unless_present = "selector")]
    pub(crate) objects: Vec<String>,
    /// Objects with these labels; of every kind Meridian delivers where no KIND is given
    #[arg(short = 'l', long)]
    pub(crate) selector: Option<String>,
    /// Print the Application and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print the Application in this form and change nothing
    #[arg(short, long, value_enum, value_name = "FORM")]
    pub(crate) output: Option<ManifestForm>,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
}

/// The form of a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ManifestForm {
    /// YAML.
    Yaml,
    /// JSON.
    Json,
}

/// `meridian intake …`
#[derive(Debug, Subcommand)]
pub(crate) enum IntakeCommand {
    /// Take an Application in whose source was lost: its object on the hub counts again
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
    /// Every Application of every namespace that waits for it
    #[arg(long)]
    pub(crate) all: bool,
    /// Say what would change and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) output: OutputFlag,
}

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
        output: OutputFlag,
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
    pub(crate) output: OutputFlag,
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
    pub(crate) output: OutputFlag,
}

/// A span such as `60s`, `5m` or `1h30m`.
fn time(text: &str) -> Result<Duration, String> {
    let remedy = || format!("{text:?} is not a time; write for example 60s, 5m or 1h30m");
    let span: jiff::SignedDuration = text.parse().map_err(|_| remedy())?;
    Duration::try_from(span).map_err(|_| remedy())
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
    fn wrong_usage_is_told_before_anything_happens() {
        for line in [
            "meridian",
            "meridian cluster join north",
            "meridian cluster join North --kubeconfig f",
            "meridian cluster join north --kubeconfig f --profile root",
            "meridian cluster drain north --timeout 5m",
            "meridian cluster drain north --wait --timeout soon",
            "meridian cluster drain north --wait --timeout -5s",
            "meridian app list -n shop -A",
            "meridian what-if",
            "meridian what-if -A",
            "meridian what-if catalog -A --lose zone=n1",
            "meridian what-if catalog -f x.yaml --replicas 3",
            "meridian cluster permissions north",
            "meridian cluster permissions --kind apps/v1/Deployment",
            "meridian cluster permissions north --kubeconfig f --profile deploy",
            "meridian app import shop --cluster north deploy/web",
            "meridian app import shop --cluster north --kubeconfig f",
            "meridian intake accept",
            "meridian intake accept shop --all",
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
        ] {
            if let Err(error) = Cli::try_parse_from(line.split(' ')) {
                panic!("{line}: {error}");
            }
        }
    }
}
