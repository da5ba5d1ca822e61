//! Arguments of `meridian app`.

use clap::{Args, Subcommand, ValueEnum};
use vocabulary::ClusterName;

use super::{
    AppArg, ConsentFlags, MemberFlags, OutputFlag, PauseFlag, ReportFlag, UnchangedFlag, WaitFlags, WaitIfAskedFlags,
};

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
        output: ReportFlag,
    },
    /// Numbers per cell. Ends with 0 when ready, 6 when not yet, 5 when a person has to mend it
    Status {
        #[command(flatten)]
        app: AppArg,
        #[command(flatten)]
        wait: WaitIfAskedFlags,
        #[command(flatten)]
        pause: PauseFlag,
        #[command(flatten)]
        output: ReportFlag,
    },
    /// Revisions, and which of them may be rolled back to
    History {
        #[command(flatten)]
        app: AppArg,
        #[command(flatten)]
        output: ReportFlag,
    },
    /// Delete an Application and, unless its deletion policy says Orphan, what it delivered
    Delete(DeleteArgs),
    /// Allow deletes that wait because they are many; without --plan, show them
    ConfirmDelete(ConfirmArgs),
    /// Make an Application from what runs in a member; nothing moves and nothing restarts
    Import(ImportArgs),
}

/// `meridian app confirm-delete`
#[derive(Debug, Args)]
pub(crate) struct ConfirmArgs {
    #[command(flatten)]
    pub(crate) app: AppArg,
    /// Hash of the plan, as shown without it
    #[arg(long, value_name = "HASH")]
    pub(crate) plan: Option<String>,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) pause: PauseFlag,
    #[command(flatten)]
    pub(crate) unchanged: UnchangedFlag,
    #[command(flatten)]
    pub(crate) output: ReportFlag,
}

/// `meridian app delete`
#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    #[command(flatten)]
    pub(crate) app: AppArg,
    #[command(flatten)]
    pub(crate) consent: ConsentFlags,
    #[command(flatten)]
    pub(crate) wait: WaitFlags,
    #[command(flatten)]
    pub(crate) pause: PauseFlag,
    #[command(flatten)]
    pub(crate) output: OutputFlag,
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
    /// A YAML document.
    Yaml,
    /// A JSON document.
    Json,
}
