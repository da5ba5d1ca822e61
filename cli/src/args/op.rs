//! Arguments of `meridian op` and `meridian lock`.

use std::time::Duration;

use clap::{Args, Subcommand};
use domain::operation::Verb;
use vocabulary::OperationId;

use super::flags::time;
use super::{OutputFlag, ReportFlag, ServerFlags};

/// `meridian op`
#[derive(Debug, Args)]
pub(crate) struct OpArgs {
    #[command(flatten)]
    pub(crate) server: ServerFlags,
    #[command(subcommand)]
    pub(crate) command: OpCommand,
}

/// `meridian op …`
#[derive(Debug, Subcommand)]
pub(crate) enum OpCommand {
    /// Operations in a table, the newest first
    #[command(visible_alias = "ls")]
    List(OpListArgs),
    /// Everything known of one operation
    Get {
        #[command(flatten)]
        id: OpArg,
        #[command(flatten)]
        output: OutputFlag,
    },
    /// Wait until an operation is over; one line for each change
    Wait(OpWaitArgs),
    /// Like wait, with a table of the steps on a terminal
    Watch(OpWaitArgs),
    /// The journal of an operation, one line for each entry
    Events(OpEventsArgs),
    /// Check that the journal of an operation was not changed
    Verify {
        #[command(flatten)]
        id: OpArg,
        #[command(flatten)]
        output: ReportFlag,
    },
    /// Begin an operation that was created with --hold
    Start(ControlArgs),
    /// Begin nothing more; writes under way end
    Pause(ControlArgs),
    /// Go on after a pause
    Resume(ControlArgs),
    /// End an operation where it is; what it did stays
    Cancel(ControlArgs),
    /// Try failed targets again
    Retry(ControlArgs),
    /// Leave out targets; needs --reason
    Skip(ControlArgs),
    /// Approve an operation that another person created
    Approve(ControlArgs),
    /// Refuse to approve an operation; needs --reason
    Reject(ControlArgs),
    /// Let a step begin that waits for it
    Confirm(ControlArgs),
    /// Take back what an operation did
    Revert(ControlArgs),
    /// Let a step go on although its checks do not pass; needs --reason
    Force(ControlArgs),
    /// Cancel an operation and take back what it did
    Abort(AbortArgs),
    /// Take back what an operation did that is over
    Undo(UndoArgs),
}

/// One operation.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct OpArg {
    /// Id of the operation
    #[arg(value_name = "ID", value_parser = operation_id)]
    pub(crate) id: OperationId,
}

/// `meridian op list`
#[derive(Debug, Args)]
pub(crate) struct OpListArgs {
    /// Operations in this state only, such as Running
    #[arg(long)]
    pub(crate) state: Option<String>,
    /// Operations of this kind only, such as drain
    #[arg(long)]
    pub(crate) kind: Option<String>,
    /// Most operations to show
    #[arg(long, value_name = "NUMBER", default_value_t = 50)]
    pub(crate) limit: usize,
    #[command(flatten)]
    pub(crate) output: OutputFlag,
}

/// `meridian op wait` and `meridian op watch`
#[derive(Debug, Args)]
pub(crate) struct OpWaitArgs {
    #[command(flatten)]
    pub(crate) id: OpArg,
    /// Longest time to wait [default: until it is over]
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) timeout: Option<Duration>,
    /// End with 4 when a person has to act
    #[arg(long)]
    pub(crate) exit_on_pause: bool,
    #[command(flatten)]
    pub(crate) output: OutputFlag,
}

/// `meridian op events`
#[derive(Debug, Args)]
pub(crate) struct OpEventsArgs {
    #[command(flatten)]
    pub(crate) id: OpArg,
    /// Entries after this number only
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub(crate) after: i64,
    /// Go on until the operation is over
    #[arg(short, long)]
    pub(crate) follow: bool,
    #[command(flatten)]
    pub(crate) output: ReportFlag,
}

/// A verb of an operation.
#[derive(Debug, Args)]
pub(crate) struct ControlArgs {
    #[command(flatten)]
    pub(crate) id: OpArg,
    /// Step that it is about [default: the one that pauses the operation]
    #[arg(long, value_name = "STEP")]
    pub(crate) step: Option<String>,
    /// Target that it is about [default: all that need it]
    #[arg(long, value_name = "TARGET")]
    pub(crate) target: Option<String>,
    /// Why
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    #[command(flatten)]
    pub(crate) output: OutputFlag,
}

/// `meridian op abort`
#[derive(Debug, Args)]
pub(crate) struct AbortArgs {
    #[command(flatten)]
    pub(crate) id: OpArg,
    /// Why
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Longest time to wait for writes under way [default: until they end]
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) timeout: Option<Duration>,
    #[command(flatten)]
    pub(crate) output: OutputFlag,
}

/// `meridian op undo`
#[derive(Debug, Args)]
pub(crate) struct UndoArgs {
    #[command(flatten)]
    pub(crate) id: OpArg,
    /// Why
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    #[command(flatten)]
    pub(crate) output: OutputFlag,
}

/// `meridian lock`
#[derive(Debug, Args)]
pub(crate) struct LockArgs {
    #[command(flatten)]
    pub(crate) server: ServerFlags,
    #[command(subcommand)]
    pub(crate) command: LockCommand,
}

/// `meridian lock …`
#[derive(Debug, Subcommand)]
pub(crate) enum LockCommand {
    /// Locks in a table, with the operations that hold them
    #[command(visible_alias = "ls")]
    List {
        #[command(flatten)]
        output: OutputFlag,
    },
}

impl OpCommand {
    /// Returns verb and arguments of a command that sends one verb.
    pub(crate) fn verb(&self) -> Option<(Verb, &ControlArgs)> {
        match self {
            Self::Start(args) => Some((Verb::Start, args)),
            Self::Pause(args) => Some((Verb::Pause, args)),
            Self::Resume(args) => Some((Verb::Resume, args)),
            Self::Cancel(args) => Some((Verb::Cancel, args)),
            Self::Retry(args) => Some((Verb::Retry, args)),
            Self::Skip(args) => Some((Verb::Skip, args)),
            Self::Approve(args) => Some((Verb::Approve, args)),
            Self::Reject(args) => Some((Verb::Reject, args)),
            Self::Confirm(args) => Some((Verb::Confirm, args)),
            Self::Revert(args) => Some((Verb::Revert, args)),
            Self::Force(args) => Some((Verb::Force, args)),
            Self::List(_)
            | Self::Get { .. }
            | Self::Wait(_)
            | Self::Watch(_)
            | Self::Events(_)
            | Self::Verify { .. }
            | Self::Abort(_)
            | Self::Undo(_) => None,
        }
    }
}

/// Parses an id, with or without the kind that `-o name` prints.
fn operation_id(text: &str) -> Result<OperationId, String> {
    text.strip_prefix("operation/")
        .unwrap_or(text)
        .parse()
        .map_err(|_| format!("{text:?} is no id of an operation; `meridian op list` shows the ids"))
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::args::{Cli, Command};

    #[test]
    fn every_verb_of_operations_is_a_command() {
        let id = "0198c0de-0000-7000-8000-000000000001";
        for verb in Verb::all() {
            let line = ["meridian", "op", verb.as_str(), id];
            let cli = Cli::try_parse_from(line).unwrap_or_else(|error| panic!("{}: {error}", verb.as_str()));
            let Command::Op(args) = cli.command else { panic!("{} is another command", verb.as_str()) };
            assert_eq!(args.command.verb().map(|(sent, _)| sent), Some(verb));
        }
        assert!(Cli::command().find_subcommand("op").is_some());
    }

    #[test]
    fn ids_are_read_as_names_are_printed() {
        let id = "0198c0de-0000-7000-8000-000000000001";
        assert_eq!(operation_id(&format!("operation/{id}")), operation_id(id));
        assert!(operation_id("east").unwrap_err().contains("meridian op list"));
    }
}
