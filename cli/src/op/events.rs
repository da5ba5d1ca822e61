//! `meridian op events`: prints the journal of an operation.

use std::pin::pin;
use std::time::Duration;

use rest::{Client, ClientError, JournalEvent, StreamEvent, Waited};
use vocabulary::OperationId;

use crate::args::OpEventsArgs;
use crate::failure::Failure;
use crate::output::{Format, structured};
use crate::shell::emit;

/// Timeout for the entries that an operation wrote before it was seen to be over.
const LAST_ENTRIES_TIMEOUT: Duration = Duration::from_secs(15);

/// Runs `meridian op events`.
pub(super) async fn run(args: &OpEventsArgs, client: &Client) -> Result<(), Failure> {
    let id = args.id.id;
    let printed = if args.follow { follow(args, client).await? } else { print_until_now(args, client).await? };
    printed.map_err(|error| Failure::server(&format!("journal of operation {id}"), &error))
}

/// Prints the entries up to the present one.
async fn print_until_now(args: &OpEventsArgs, client: &Client) -> Result<Result<(), ClientError>, Failure> {
    let operation = match client.operation(args.id.id).await {
        Ok(operation) => operation,
        Err(error) => return Ok(Err(error)),
    };
    Journal::new(args, client).print_to(operation.journal_seq).await
}

/// Prints entries until the operation is over.
async fn follow(args: &OpEventsArgs, client: &Client) -> Result<Result<(), ClientError>, Failure> {
    let mut journal = Journal::new(args, client);
    let mut ended = pin!(client.wait_for_operation(args.id.id, None, |seen| seen.done));
    let waited = tokio::select! {
        waited = &mut ended => waited,
        printed = journal.print_to(i64::MAX) => return printed,
        _ = tokio::signal::ctrl_c() => return Err(interrupted(args.id.id)),
    };
    let last = match waited {
        Ok(Waited::Ended(operation) | Waited::Expired { last: operation, .. }) => operation.journal_seq,
        Err(error) => return Ok(Err(error)),
    };
    // Entries may have been removed; then the last one never comes.
    tokio::time::timeout(LAST_ENTRIES_TIMEOUT, journal.print_to(last)).await.unwrap_or(Ok(Ok(())))
}

fn interrupted(id: OperationId) -> Failure {
    Failure::TimedOut(format!("stopped reading; operation {id} goes on, `meridian op events {id} --follow` reads on"))
}

/// The journal of an operation, as far as it was printed.
struct Journal {
    events: rest::Events,
    printed: i64,
    format: Format,
}

impl Journal {
    fn new(args: &OpEventsArgs, client: &Client) -> Self {
        Self {
            events: client.operation_events(args.id.id, args.after),
            printed: args.after,
            format: args.output.output,
        }
    }

    /// Prints entries up to a number. The inner error is one of the server.
    async fn print_to(&mut self, last: i64) -> Result<Result<(), ClientError>, Failure> {
        while self.printed < last {
            match self.events.next().await {
                Ok(Some(StreamEvent::Entry(entry))) => {
                    emit(&format_entry(&entry, self.format)?)?;
                    self.printed = entry.seq;
                }
                Ok(Some(StreamEvent::Resync)) => {}
                Ok(None) => break,
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(()))
    }
}

/// Formats an entry: one line, also as JSON, or one YAML document.
fn format_entry(entry: &JournalEvent, format: Format) -> Result<String, Failure> {
    match format {
        Format::Json => {
            // Programs read a stream line by line.
            let document = structured(format, entry)?.unwrap_or_default();
            let value: serde_json::Value =
                serde_json::from_str(&document).map_err(|error| Failure::Failed(error.to_string()))?;
            Ok(format!("{value}\n"))
        }
        Format::Yaml => Ok(format!("---\n{}", structured(format, entry)?.unwrap_or_default())),
        Format::Table | Format::Wide | Format::Name => Ok(line(entry)),
    }
}

fn line(entry: &JournalEvent) -> String {
    let place = [&entry.step, &entry.target].into_iter().flatten().cloned().collect::<Vec<_>>().join(" ");
    let fields = [entry.entry.clone(), place, format!("by {}", entry.actor), entry.body.to_string()];
    let fields = fields.into_iter().filter(|field| !field.is_empty()).collect::<Vec<_>>().join("  ");
    format!("{:.0}  {}  {fields}\n", entry.at, entry.seq)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn entries_are_one_line_each() {
        let entry: JournalEvent = serde_json::from_value(json!({
            "seq": 3, "entry": "Outcome", "step": "move", "target": "app/a", "body": {"state": "Succeeded"},
            "actor": "engine", "at": "2026-11-02T03:05:00.25Z", "hash": "00",
        }))
        .unwrap();
        let shown = format_entry(&entry, Format::Table).unwrap();
        assert_eq!(shown, "2026-11-02T03:05:00Z  3  Outcome  move app/a  by engine  {\"state\":\"Succeeded\"}\n");
        let json = format_entry(&entry, Format::Json).unwrap();
        assert_eq!(json.lines().count(), 1, "{json}");
        assert!(format_entry(&entry, Format::Yaml).unwrap().starts_with("---\nseq: 3\n"));
    }
}
