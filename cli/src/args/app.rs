//! Arguments of `meridian app`.

use clap::{Args, Subcommand, ValueEnum};
use vocabulary::ClusterName;

use super::{
    AppArg, AppDiffArgs, ConsentFlags, MemberFlags, OutputFlag, PauseFlag, ReportFlag, RollbackArgs, UnchangedFlag,
    WaitFlags, WaitIfAskedFlags,
};

/// `meridian app …`
#[derive(Debug, Subcommand)]
pub(crate) enum AppCommand {
    /// List Applications
    #[command(visible_alias = "ls")]
    List {
        /// Namespace of the Applications [default: that of the hub context]
        #[arg(short, long, conflicts_with = "all_namespaces")]
        namespace: Option<String>,
        /// List the Applications of all namespaces
        #[arg(short = 'A', long)]
        all_namespaces: bool,
        /// Label selector of the Applications
        #[arg(short = 'l', long)]
        selector: Option<String>,
        #[command(flatten)]
        output: OutputFlag,
    },
    /// Show the details of one Application
    Describe {
        #[command(flatten)]
        app: AppArg,
        #[command(flatten)]
        output: ReportFlag,
    },
    /// Show the replicas in each cell. Exit code 0: ready; 6: not ready yet; 5: not ready until a person acts
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
    /// List revisions, and which of them the Application can be rolled back to
    History {
        #[command(flatten)]
        app: AppArg,
        #[command(flatten)]
        output: ReportFlag,
    },
    /// Compare the present revision with an earlier one
    Diff(AppDiffArgs),
    /// Give an Application the components and overrides of an earlier revision that was ready once
    Rollback(RollbackArgs),
    /// Delete an Application and, unless its deletion policy is Orphan, the objects delivered for it
    Delete(DeleteArgs),
    /// Confirm the deletes that the mass-delete guard withholds; without --plan, show them
    ConfirmDelete(ConfirmArgs),
    /// Create an Application from objects that run in a member; nothing is moved or restarted
    Import(ImportArgs),
}

/// `meridian app confirm-delete`
#[derive(Debug, Args)]
pub(crate) struct ConfirmArgs {
    #[command(flatten)]
    pub(crate) app: AppArg,
    /// Hash of the delete plan, as printed without this flag
    #[arg(long, value_name = "HASH")]
    pub(crate) plan: Option<String>,
    /// Do not ask for confirmation
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
    /// Name of the new Application
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Namespace of the objects, and of the Application [default: that of the hub context]
    #[arg(short, long)]
    pub(crate) namespace: Option<String>,
    /// Name of the cluster that has the objects
    #[arg(long, value_name = "CLUSTER")]
    pub(crate) cluster: ClusterName,
    #[command(flatten)]
    pub(crate) member: MemberFlags,
    /// Objects as KIND/NAME, such as deploy/web; a KIND alone needs --selector
    #[arg(value_name = "KIND/NAME", required_unless_present = "selector")]
    pub(crate) objects: Vec<String>,
    /// Label selector of the objects; without a KIND, of every kind that Meridian delivers
    #[arg(short = 'l', long)]
    pub(crate) selector: Option<String>,
    /// Print the Application; change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print the Application in this form; change nothing
    #[arg(short, long, value_enum, value_name = "FORM")]
    pub(crate) output: Option<ManifestForm>,
    /// Do not ask for confirmation
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
