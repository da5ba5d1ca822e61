//! Sends verbs to operations.

use domain::operation::Verb;
use rest::{Client, ControlBody, Operation, Waited};
use vocabulary::OperationId;

use super::outcome::title;
use crate::args::{AbortArgs, ControlArgs, UndoArgs};
use crate::failure::Failure;
use crate::output::Format;
use crate::progress::Progress;
use crate::shell::outcome;

/// Checks the arguments of a verb before a request is sent.
pub(super) fn check(verb: Verb, args: &ControlArgs) -> Result<(), Failure> {
    let is_reason_missing = args.reason.as_deref().is_none_or(|reason| reason.trim().is_empty());
    if verb.needs_reason() && is_reason_missing {
        return Err(Failure::Usage(format!("{} needs --reason TEXT, because the journal records it", verb.as_str())));
    }
    Ok(())
}

/// Runs `meridian op VERB`.
pub(super) async fn run(verb: Verb, args: &ControlArgs, client: &Client, progress: Progress) -> Result<(), Failure> {
    let body = ControlBody { step: args.step.clone(), target: args.target.clone(), reason: args.reason.clone() };
    let operation = send(verb, args.id.id, &body, client).await?;
    report(verb, &operation, args.output.output, progress)
}

/// Runs `meridian op abort`: cancels, waits for the writes under way, and reverts.
pub(super) async fn abort(args: &AbortArgs, client: &Client, progress: Progress) -> Result<(), Failure> {
    let id = args.id.id;
    let body = ControlBody { reason: args.reason.clone(), ..ControlBody::default() };
    let before = read(id, client).await?;
    // A repeated command goes on with the revert.
    if !before.done {
        let cancelled = send(Verb::Cancel, id, &body, client).await?;
        progress.done(format!("{} is {}", title(&cancelled), cancelled.state));
        if !cancelled.done {
            progress.doing("waiting for the writes under way");
        }
    }
    let waited = client.wait_for_operation(id, args.timeout, |seen| seen.done);
    let ended = match waited.await.map_err(|error| Failure::server(&format!("operation {id}"), &error))? {
        Waited::Ended(ended) => ended,
        Waited::Expired { .. } => {
            return Err(Failure::TimedOut(format!(
                "operation {id} is not cancelled yet and nothing was taken back; `meridian op abort {id}` goes on with it"
            )));
        }
    };
    // An operation that never ran has nothing to take back.
    if ended.start_time.is_none() {
        return report(Verb::Cancel, &ended, args.output.output, progress);
    }
    let reverted = send(Verb::Revert, ended.id, &body, client).await?;
    report(Verb::Revert, &reverted, args.output.output, progress)
}

/// Runs `meridian op undo`: reverts an operation that is over.
pub(super) async fn undo(args: &UndoArgs, client: &Client, progress: Progress) -> Result<(), Failure> {
    let id = args.id.id;
    let operation = read(id, client).await?;
    if !operation.done {
        return Err(Failure::Refused(format!(
            "{} is {}; `meridian op abort {id}` cancels it and takes back what it did",
            title(&operation),
            operation.state
        )));
    }
    let body = ControlBody { reason: args.reason.clone(), ..ControlBody::default() };
    let reverted = send(Verb::Revert, id, &body, client).await?;
    report(Verb::Revert, &reverted, args.output.output, progress)
}

async fn read(id: OperationId, client: &Client) -> Result<Operation, Failure> {
    client.operation(id).await.map_err(|error| Failure::server(&format!("operation {id}"), &error))
}

pub(crate) async fn send(
    verb: Verb,
    id: OperationId,
    body: &ControlBody,
    client: &Client,
) -> Result<Operation, Failure> {
    let sent = client.control_operation(id, verb.as_str(), body).await;
    sent.map_err(|error| Failure::server(&format!("{} operation {id}", verb.as_str()), &error))
}

pub(crate) fn report(verb: Verb, operation: &Operation, format: Format, progress: Progress) -> Result<(), Failure> {
    progress.done(format!("{}: {} is {}", verb.as_str(), title(operation), operation.state));
    if !operation.done {
        progress.hint(format!("`meridian op watch {}` shows how it goes on", operation.id));
    }
    outcome(format, &format!("operation/{}", operation.id), operation)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    #[test]
    fn verbs_that_override_a_safeguard_need_a_reason() {
        let id = "0198c0de-0000-7000-8000-000000000001";
        for (verb, reason, accepted) in [
            ("pause", None, true),
            ("skip", None, false),
            ("skip", Some(" "), false),
            ("skip", Some("known fault"), true),
            ("force", None, false),
            ("reject", None, false),
        ] {
            let line = ["meridian", "op", verb, id].into_iter();
            let line = line.chain(reason.into_iter().flat_map(|reason| ["--reason", reason]));
            let Command::Op(args) = Cli::try_parse_from(line).unwrap().command else { panic!("{verb}") };
            let (verb, args) = args.command.verb().unwrap();
            assert_eq!(check(verb, args).is_ok(), accepted, "{verb:?} {reason:?}");
        }
    }
}
