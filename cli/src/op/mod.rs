//! `meridian op`, `meridian lock` and `meridian drain`: commands about operations.

mod control;
mod drain;
mod events;
mod follow;
mod live;
mod look;
mod outcome;
mod wait;

pub(crate) use control::{report, send};
pub(crate) use drain::run as drain;
pub(crate) use live::{LiveTable, changed_lines, render};
pub(crate) use look::locks;
pub(crate) use outcome::{is_waiting_for_person, title, wait_reason};
pub(crate) use wait::{View, Wait, end_of, wait_for};

#[cfg(test)]
pub(crate) use outcome::tests;

use crate::args::{OpArgs, OpCommand};
use crate::failure::Failure;
use crate::progress::Progress;
use crate::server;

/// Runs one `meridian op` command.
pub(crate) async fn run(args: &OpArgs, progress: Progress) -> Result<(), Failure> {
    if let Some((verb, args)) = args.command.verb() {
        control::check(verb, args)?;
    }
    let client = server::connect(&args.server)?;
    match &args.command {
        OpCommand::List(args) => look::list(args, &client, progress).await,
        OpCommand::Get { id, output } => look::get(id.id, output.output, &client).await,
        OpCommand::Wait(args) => wait::run(args, wait::View::Lines, &client, progress).await,
        OpCommand::Watch(args) => wait::run(args, wait::View::Table, &client, progress).await,
        OpCommand::Events(args) => events::run(args, &client).await,
        OpCommand::Verify { id, output } => look::verify(id.id, output.output, &client, progress).await,
        OpCommand::Abort(args) => control::abort(args, &client, progress).await,
        OpCommand::Undo(args) => control::undo(args, &client, progress).await,
        OpCommand::Start(_)
        | OpCommand::Pause(_)
        | OpCommand::Resume(_)
        | OpCommand::Cancel(_)
        | OpCommand::Retry(_)
        | OpCommand::Skip(_)
        | OpCommand::Approve(_)
        | OpCommand::Reject(_)
        | OpCommand::Confirm(_)
        | OpCommand::Revert(_)
        | OpCommand::Force(_) => {
            let (verb, args) = args.command.verb().expect("each of these is a verb");
            control::run(verb, args, &client, progress).await
        }
    }
}
