//! `meridian op wait` and `meridian op watch`.

use std::time::Duration;

use jiff::Timestamp;
use rest::{Client, Operation, StreamEvent, Waited};
use vocabulary::OperationId;

use super::follow::{Followed, follow};
use super::live::{LiveTable, changed_lines, render};
use super::look;
use super::outcome::{Ender, ender_of, is_waiting_for_person, needs_ender, title, verdict, wait_reason};
use crate::args::OpWaitArgs;
use crate::failure::Failure;
use crate::output::Format;
use crate::progress::Progress;

/// Timeout for reading the journal of an operation that is over.
const JOURNAL_TIMEOUT: Duration = Duration::from_secs(15);

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    /// One line for each change.
    Lines,
    /// A table that is drawn again, where standard error is a terminal; lines otherwise.
    Table,
}

/// Condition on which the command ends, and the form of its output.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wait {
    pub(crate) id: OperationId,
    pub(crate) limit: Option<Duration>,
    pub(crate) stop_on_pause: bool,
    pub(crate) view: View,
    pub(crate) format: Format,
}

/// Runs `meridian op wait` or `meridian op watch`.
pub(super) async fn run(args: &OpWaitArgs, view: View, client: &Client, progress: Progress) -> Result<(), Failure> {
    let wait = Wait {
        id: args.id.id,
        limit: args.timeout,
        stop_on_pause: args.exit_on_pause,
        view,
        format: args.output.output,
    };
    wait_for(wait, client, progress).await
}

/// Waits until an operation is over, prints it, and returns its end as the end of the command.
pub(crate) async fn wait_for(wait: Wait, client: &Client, progress: Progress) -> Result<(), Failure> {
    let id = wait.id;
    let mut table = (wait.view == View::Table && progress.is_terminal()).then(LiveTable::default);
    let mut before: Option<Operation> = None;
    let followed = follow(client, id, wait.limit, wait.stop_on_pause, |seen| {
        match &mut table {
            Some(table) => table.draw(&render(seen, Timestamp::now())),
            None => changed_lines(before.as_ref(), seen).iter().for_each(|line| progress.doing(line)),
        }
        before = Some(seen.clone());
    });
    let followed = followed.await.map_err(|error| Failure::server(&format!("operation {id}"), &error))?;
    let operation = match followed {
        Followed::Waited(Waited::Ended(operation)) => operation,
        Followed::Waited(Waited::Expired { last, silence }) => {
            look::print(&last, wait.format)?;
            return Err(Failure::TimedOut(expired(&last, silence.as_deref())));
        }
        Followed::Interrupted => return Err(Failure::TimedOut(format!("stopped waiting: {}", goes_on(id)))),
    };
    look::print(&operation, wait.format)?;
    if !operation.done && is_waiting_for_person(&operation) {
        return Err(Failure::Waits(format!("{} waits: {}", title(&operation), wait_reason(&operation))));
    }
    end_of(&operation, client).await?;
    progress.done(format!("{} is {}", title(&operation), operation.state));
    Ok(())
}

/// Returns the end of an operation that is over, as the end of a command.
pub(crate) async fn end_of(operation: &Operation, client: &Client) -> Result<(), Failure> {
    let ender = if needs_ender(operation) { find_ender(operation, client).await } else { None };
    verdict(operation, ender.as_ref())
}

/// Says that the end of a command is not the end of the operation.
fn goes_on(id: OperationId) -> String {
    format!("operation {id} goes on; `meridian op wait {id}` waits for it again, `meridian op cancel {id}` ends it")
}

fn expired(last: &Operation, silence: Option<&str>) -> String {
    let state = match silence {
        Some(why) => format!("its state is not known, it was {} when the server last answered ({why})", last.state),
        None => format!("it is {}", last.state),
    };
    let paused = if is_waiting_for_person(last) { format!("; {}", wait_reason(last)) } else { String::new() };
    format!("{} is not over: {state}{paused}; {}", title(last), goes_on(last.id))
}

/// Reads in the journal who ended an operation. Returns `None` if it ended by itself, or the journal cannot be read.
async fn find_ender(operation: &Operation, client: &Client) -> Option<Ender> {
    let read = async {
        let mut events = client.operation_events(operation.id, 0);
        let mut found = None;
        while let Ok(Some(event)) = events.next().await {
            let StreamEvent::Entry(entry) = event else { continue };
            found = ender_of(&entry).or(found);
            if entry.seq >= operation.journal_seq {
                break;
            }
        }
        found
    };
    tokio::time::timeout(JOURNAL_TIMEOUT, read).await.unwrap_or(None)
}

#[cfg(test)]
mod tests {
    use super::super::outcome::tests::operation;
    use super::*;

    #[test]
    fn messages_of_ended_waits_name_the_operation_that_goes_on() {
        for (case, state, silence, part) in [
            ("running", "Running", None, "it is Running"),
            ("held", "Pending", None, "meridian op start"),
            ("silent", "Running", Some("connection refused"), "not known"),
        ] {
            let text = expired(&operation(state, false), silence);
            assert!(text.contains(part), "{case}: {text}");
            assert!(
                text.contains("goes on; `meridian op wait 0198c0de-0000-7000-8000-000000000001`"),
                "{case}: {text}"
            );
        }
    }
}
