//! Arguments of `meridian cluster`.

use std::fmt;
use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use members::install::Profile;
use vocabulary::ClusterName;

use super::{ConsentFlags, OutputFlag, ReportFlag, UnchangedFlag, WaitFlags, WaitIfAskedFlags};

/// `meridian cluster …`
#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Add a cluster to the fleet, or update one that joined before
    Join(JoinArgs),
    /// List all clusters
    #[command(visible_alias = "ls")]
    List {
        #[command(flatten)]
        output: OutputFlag,
    },
    /// Show the details of one cluster
    Describe {
        /// Name of the cluster
        #[arg(value_name = "CLUSTER")]
        name: ClusterName,
        #[command(flatten)]
        output: ReportFlag,
    },
    /// Place no new replicas in a cluster; running replicas stay
    Cordon {
        /// Name of the cluster
        #[arg(value_name = "CLUSTER")]
        name: ClusterName,
        #[command(flatten)]
        unchanged: UnchangedFlag,
        #[command(flatten)]
        output: OutputFlag,
    },
    /// Allow new replicas in a cluster again; also ends a drain. No replica moves back by itself
    Uncordon {
        /// Name of the cluster
        #[arg(value_name = "CLUSTER")]
        name: ClusterName,
        #[command(flatten)]
        unchanged: UnchangedFlag,
        #[command(flatten)]
        output: OutputFlag,
    },
    /// Move all replicas out of a cluster, each only after its successor is available elsewhere
    Drain(DrainArgs),
    /// Remove a cluster from the fleet
    #[command(visible_alias = "rm")]
    Remove(RemoveArgs),
    /// Delete what `join` installed in a cluster that is no longer in the fleet
    Uninstall(UninstallArgs),
    /// Give the name of a cluster in the fleet to another cluster
    Replace(ReplaceArgs),
    /// Give Meridian a fresh credential for a cluster
    UpdateCredential {
        /// Name of the cluster
        #[arg(value_name = "CLUSTER")]
        name: ClusterName,
        #[command(flatten)]
        member: MemberFlags,
        #[command(flatten)]
        wait: WaitFlags,
        #[command(flatten)]
        output: OutputFlag,
    },
    /// Compare the rights a member grants with those Meridian needs; without CLUSTER, print what join installs as YAML
    Permissions(PermissionsArgs),
}

/// `meridian cluster permissions`
#[derive(Debug, Args)]
pub(crate) struct PermissionsArgs {
    /// Name of the cluster to check
    #[arg(value_name = "CLUSTER", requires = "kubeconfig", conflicts_with = "profile")]
    pub(crate) name: Option<ClusterName>,
    /// Kubeconfig of the member, with the right to check the rights of others there
    #[arg(long, value_name = "FILE", requires = "name")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Context of the member in that kubeconfig [default: its current context]
    #[arg(long, value_name = "NAME", requires = "name")]
    pub(crate) context: Option<String>,
    /// Print only the roles of these profiles [default: everything that join installs]
    #[arg(long, value_parser = profile(), value_delimiter = ',', value_name = "PROFILE")]
    pub(crate) profile: Vec<Profile>,
    /// Further kind to check, such as apps/v1/Deployment; repeat for more
    #[arg(long, value_name = "GROUP/VERSION/KIND", requires = "name")]
    pub(crate) kind: Vec<String>,
    /// Application whose kinds to check too
    #[arg(long, value_name = "APP", requires = "name")]
    pub(crate) app: Option<String>,
    /// Namespace of that Application [default: that of the hub context]
    #[arg(short, long, requires = "app")]
    pub(crate) namespace: Option<String>,
    #[command(flatten)]
    pub(crate) output: ReportFlag,
}

impl PermissionsArgs {
    /// Returns the flags by which the user reaches the member, if a kubeconfig was given.
    pub(crate) fn member(&self) -> Option<MemberFlags> {
        self.kubeconfig.clone().map(|kubeconfig| MemberFlags { kubeconfig, context: self.context.clone() })
    }
}

/// Flags by which a person reaches a member, with the person's own credentials.
#[derive(Debug, Args)]
pub(crate) struct MemberFlags {
    /// Kubeconfig of the member, with administrator rights there
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: PathBuf,
    /// Context of the member in that kubeconfig [default: its current context]
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,
}

/// Prints the flags as the user types them, for commands in messages.
impl fmt::Display for MemberFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--kubeconfig {}", quoted(&self.kubeconfig.display().to_string()))?;
        match &self.context {
            Some(context) => write!(f, " --context {}", quoted(context)),
            None => Ok(()),
        }
    }
}

/// Quotes a word where a POSIX shell would otherwise not read it as one word.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// `meridian cluster join`
#[derive(Debug, Args)]
pub(crate) struct JoinArgs {
    /// Name of the cluster in the fleet
    #[arg(value_name = "NAME")]
    pub(crate) name: ClusterName,
    #[command(flatten)]
    pub(crate) member: MemberFlags,
    /// Region of the cluster; optional when the cluster joined before
    #[arg(long)]
    pub(crate) region: Option<String>,
    /// Zones of the cluster; repeat or separate by commas; optional when the cluster joined before
    #[arg(long = "zone", value_name = "ZONE", value_delimiter = ',')]
    pub(crate) zones: Vec<String>,
    /// Create a Cell for each zone, each with its own objects; without it the cluster is one cell over its zones
    #[arg(long)]
    pub(crate) cell_per_zone: bool,
    /// Rights of Meridian in the member [default: those of the join before, else observe,deploy]
    #[arg(long, value_parser = profile(), value_delimiter = ',', value_name = "PROFILE")]
    pub(crate) profile: Vec<Profile>,
    /// URL at which the hub reaches the member [default: that of the join before, else that of the kubeconfig]
    #[arg(long, value_name = "URL")]
    pub(crate) server: Option<String>,
    #[command(flatten)]
    pub(crate) wait: WaitFlags,
    /// Check everything and print what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) output: OutputFlag,
}

/// `meridian cluster replace`
#[derive(Debug, Args)]
pub(crate) struct ReplaceArgs {
    /// Name of the cluster
    #[arg(value_name = "CLUSTER")]
    pub(crate) name: ClusterName,
    #[command(flatten)]
    pub(crate) member: MemberFlags,
    /// URL at which the hub reaches the member [default: that of the kubeconfig]
    #[arg(long, value_name = "URL")]
    pub(crate) server: Option<String>,
    /// Do not ask for confirmation
    #[arg(short, long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) wait: WaitFlags,
    /// Check everything and print what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) output: OutputFlag,
}

/// `meridian cluster drain`
#[derive(Debug, Args)]
pub(crate) struct DrainArgs {
    /// Name of the cluster
    #[arg(value_name = "CLUSTER")]
    pub(crate) name: ClusterName,
    #[command(flatten)]
    pub(crate) wait: WaitIfAskedFlags,
    #[command(flatten)]
    pub(crate) consent: ConsentFlags,
    #[command(flatten)]
    pub(crate) unchanged: UnchangedFlag,
    #[command(flatten)]
    pub(crate) output: OutputFlag,
}

/// `meridian cluster remove`
#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    /// Name of the cluster
    #[arg(value_name = "CLUSTER")]
    pub(crate) name: ClusterName,
    /// Delete the objects that Meridian delivered there; without this flag workloads keep running
    #[arg(long)]
    pub(crate) delete_workloads: bool,
    /// Forget a cluster that no longer exists, with everything placed there. Refused while it answers
    #[arg(long, conflicts_with = "delete_workloads")]
    pub(crate) gone: bool,
    /// Kubeconfig of the member, with administrator rights there; deletes also what join installed
    #[arg(long, value_name = "FILE", conflicts_with = "gone")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Context of the member in that kubeconfig [default: its current context]
    #[arg(long, value_name = "NAME", requires = "kubeconfig")]
    pub(crate) context: Option<String>,
    #[command(flatten)]
    pub(crate) consent: ConsentFlags,
    #[command(flatten)]
    pub(crate) wait: WaitFlags,
    #[command(flatten)]
    pub(crate) output: OutputFlag,
}

impl RemoveArgs {
    /// Returns the flags by which the user reaches the member, if a kubeconfig was given.
    pub(crate) fn member(&self) -> Option<MemberFlags> {
        self.kubeconfig.clone().map(|kubeconfig| MemberFlags { kubeconfig, context: self.context.clone() })
    }
}

/// `meridian cluster uninstall`
#[derive(Debug, Args)]
pub(crate) struct UninstallArgs {
    #[command(flatten)]
    pub(crate) member: MemberFlags,
    /// Do not ask for confirmation
    #[arg(short, long)]
    pub(crate) yes: bool,
}

/// Parses the name of a profile.
fn profile() -> impl TypedValueParser<Value = Profile> {
    let help = |profile| match profile {
        Profile::Observe => "Read nodes, namespaces and pods",
        Profile::Deploy => "Write the workload kinds that Meridian delivers",
    };
    let profiles = Profile::ALL.map(|profile| PossibleValue::new(profile.as_str()).help(help(profile)));
    PossibleValuesParser::new(profiles).try_map(|text| text.parse())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_flags_are_one_shell_word_each() {
        for (kubeconfig, context, expected) in [
            ("/home/me/north.yaml", None, "--kubeconfig /home/me/north.yaml"),
            ("my files/n", Some("admin@north"), "--kubeconfig 'my files/n' --context admin@north"),
            ("n", Some("o'clock"), r"--kubeconfig n --context 'o'\''clock'"),
        ] {
            let flags = MemberFlags { kubeconfig: kubeconfig.into(), context: context.map(str::to_owned) };
            assert_eq!(flags.to_string(), expected);
        }
    }
}
