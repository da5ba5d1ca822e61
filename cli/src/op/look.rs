//! Prints operations, locks, and the verification of a journal.

use jiff::Timestamp;
use rest::{Client, Lock, Operation, OperationFilter, PageRequest, Verification};
use vocabulary::OperationId;

use super::live;
use super::outcome::{is_waiting_for_person, wait_reason};
use crate::args::{LockArgs, LockCommand, OpListArgs};
use crate::failure::Failure;
use crate::output::{self, Format, Table, span, structured};
use crate::progress::Progress;
use crate::server;
use crate::shell::emit;

/// Runs `meridian op list`.
pub(super) async fn list(args: &OpListArgs, client: &Client, progress: Progress) -> Result<(), Failure> {
    let filter = OperationFilter { state: args.state.clone(), kind: args.kind.clone(), application: None };
    let mut operations = Vec::new();
    let mut token = None;
    let mut has_more = true;
    while has_more && operations.len() < args.limit {
        let page = PageRequest { size: Some((args.limit - operations.len()).min(500)), token };
        let read = client.operations(&filter, &page).await;
        let read = read.map_err(|error| Failure::server("operations", &error))?;
        operations.extend(read.items);
        token = read.next_page_token.filter(|token| !token.is_empty());
        has_more = token.is_some();
    }
    let has_more = has_more || operations.len() > args.limit;
    operations.truncate(args.limit);
    match args.output.output {
        Format::Name => emit(&names(&operations))?,
        format @ (Format::Json | Format::Yaml) => {
            emit(&structured(format, &serde_json::json!({ "items": operations }))?.unwrap_or_default())?;
        }
        format @ (Format::Table | Format::Wide) if !operations.is_empty() => {
            emit(&table(&operations, format, Timestamp::now()))?;
        }
        Format::Table | Format::Wide => progress.done("no operations"),
    }
    if has_more {
        progress.hint(format!("older operations are left out; --limit {} shows more", args.limit.saturating_mul(2)));
    }
    Ok(())
}

/// Runs `meridian op get`.
pub(super) async fn get(id: OperationId, format: Format, client: &Client) -> Result<(), Failure> {
    let operation = client.operation(id).await;
    print(&operation.map_err(|error| Failure::server(&format!("operation {id}"), &error))?, format)
}

/// Prints one operation.
pub(super) fn print(operation: &Operation, format: Format) -> Result<(), Failure> {
    let text = match format {
        Format::Name => names(std::slice::from_ref(operation)),
        Format::Json | Format::Yaml => structured(format, operation)?.unwrap_or_default(),
        Format::Table | Format::Wide => describe(operation, format, Timestamp::now()),
    };
    emit(&text)
}

/// Runs `meridian op verify`.
pub(super) async fn verify(
    id: OperationId,
    format: Format,
    client: &Client,
    progress: Progress,
) -> Result<(), Failure> {
    let found = client.verification(id).await;
    let found = found.map_err(|error| Failure::server(&format!("journal of operation {id}"), &error))?;
    if let Some(text) = structured(format, &found)? {
        emit(&text)?;
    }
    verdict(id, &found)?;
    progress.done(format!("the journal of operation {id} is whole: {} entries", found.entries));
    Ok(())
}

fn verdict(id: OperationId, found: &Verification) -> Result<(), Failure> {
    if found.whole {
        return Ok(());
    }
    let problem = found.problem.as_deref().unwrap_or("the chain of hashes is broken");
    Err(Failure::Ended(format!("the journal of operation {id} was changed after entry {}: {problem}", found.entries)))
}

/// Runs `meridian lock list`.
pub(crate) async fn locks(args: &LockArgs, progress: Progress) -> Result<(), Failure> {
    let LockCommand::List { output } = &args.command;
    let client = server::connect(&args.server)?;
    let locks = client.locks().await.map_err(|error| Failure::server("locks", &error))?;
    match output.output {
        Format::Name => emit(&locks.iter().map(|lock| format!("lock/{}\n", lock.key)).collect::<String>()),
        format @ (Format::Json | Format::Yaml) => {
            emit(&structured(format, &serde_json::json!({ "items": locks }))?.unwrap_or_default())
        }
        Format::Table | Format::Wide if locks.is_empty() => {
            progress.done("no operation holds a lock");
            Ok(())
        }
        Format::Table | Format::Wide => emit(&lock_table(&locks, Timestamp::now())),
    }
}

fn names(operations: &[Operation]) -> String {
    operations.iter().map(|operation| format!("operation/{}\n", operation.id)).collect()
}

fn age(since: Timestamp, now: Timestamp) -> String {
    span(now.duration_since(since).as_secs())
}

fn table(operations: &[Operation], format: Format, now: Timestamp) -> String {
    let header = ["ID", "KIND", "SUBJECT", "STATE", "DONE", "FAILED", "BY", "AGE"];
    let wide = ["REASON", "MESSAGE"];
    let is_wide = format == Format::Wide;
    let mut table = Table::new(header.into_iter().chain(wide.into_iter().filter(|_| is_wide)));
    for operation in operations {
        let progress = operation.progress;
        let row = [
            operation.id.to_string(),
            operation.kind.clone(),
            operation.subject.clone(),
            operation.state.clone(),
            format!("{}/{}", progress.done, progress.total),
            progress.failed.to_string(),
            operation.created_by.clone(),
            age(operation.create_time, now),
        ];
        let wide = [output::or_dash(Some(&operation.reason)), output::or_dash(message(operation).as_deref())];
        table.row(row.into_iter().chain(wide.into_iter().filter(|_| is_wide)));
    }
    table.render()
}

/// Returns why an operation failed, pauses or waits.
fn message(operation: &Operation) -> Option<String> {
    let waits = || {
        (operation.pause.is_some() || !operation.done && is_waiting_for_person(operation))
            .then(|| wait_reason(operation))
    };
    operation.failure.clone().or_else(waits)
}

/// Formats everything known of an operation. `Format::Wide` adds its targets.
fn describe(operation: &Operation, format: Format, now: Timestamp) -> String {
    let time = |at: Option<Timestamp>| at.map_or_else(|| "-".to_owned(), |at| at.to_string());
    let progress = operation.progress;
    let mut text = output::fields(&[
        ("Id", operation.id.to_string()),
        ("Kind", operation.kind.clone()),
        ("Subject", operation.subject.clone()),
        ("State", operation.state.clone()),
        ("Phase", operation.phase.clone()),
        ("Message", output::or_dash(message(operation).as_deref())),
        (
            "Targets",
            format!(
                "{} of {} done, {} failed, {} under way",
                progress.done, progress.total, progress.failed, progress.running
            ),
        ),
        ("By", operation.created_by.clone()),
        ("Reason", output::or_dash(Some(&operation.reason))),
        ("Created", format!("{} ({} ago)", operation.create_time, age(operation.create_time, now))),
        ("Started", time(operation.start_time)),
        ("Ended", time(operation.end_time)),
        ("Spec", operation.spec.to_string()),
    ]);
    if !operation.steps.is_empty() {
        text.push_str("\nSteps:\n");
        text.push_str(&output::indent(&live::steps(&operation.steps)));
    }
    let targets = targets(operation, format);
    if !targets.is_empty() {
        text.push_str("\nTargets:\n");
        text.push_str(&output::indent(&targets.render()));
    }
    text
}

/// Targets that failed or are under way; all with `Format::Wide`.
fn targets(operation: &Operation, format: Format) -> Table {
    let mut table = Table::new(["STEP", "TARGET", "STATE", "ATTEMPT", "MESSAGE"]);
    for step in &operation.steps {
        for target in &step.targets {
            let is_plain = matches!(target.state.as_str(), "Waiting" | "Succeeded");
            if format == Format::Wide || !is_plain {
                table.row([
                    step.id.clone(),
                    target.target.clone(),
                    target.state.clone(),
                    (target.attempt + 1).to_string(),
                    output::or_dash(Some(&target.message)),
                ]);
            }
        }
    }
    table
}

fn lock_table(locks: &[Lock], now: Timestamp) -> String {
    let mut table = Table::new(["KEY", "MODE", "OPERATION", "KIND", "SUBJECT", "BY", "AGE"]);
    for lock in locks {
        table.row([
            lock.key.clone(),
            lock.mode.clone(),
            lock.operation.to_string(),
            lock.kind.clone(),
            lock.subject.clone(),
            lock.started_by.clone(),
            age(lock.since, now),
        ]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::super::outcome::tests::operation;
    use super::*;

    fn now() -> Timestamp {
        "2026-11-02T03:09:05Z".parse().unwrap()
    }

    #[test]
    fn lists_show_progress_and_wide_ones_the_message() {
        let operations = [operation("Running", false), operation("Pending", false)];
        expect![[r"
            ID                                     KIND    SUBJECT        STATE     DONE   FAILED   BY           AGE
            0198c0de-0000-7000-8000-000000000001   drain   cluster east   Running   1/3         0   person/ada   5m
            0198c0de-0000-7000-8000-000000000001   drain   cluster east   Pending   1/3         0   person/ada   5m
        "]]
        .assert_eq(&table(&operations, Format::Table, now()));
        let wide = table(&operations, Format::Wide, now());
        assert!(wide.contains("it waits for `meridian op start 0198c0de"), "{wide}");
    }

    #[test]
    fn one_operation_is_described_by_its_fields() {
        let text = describe(&operation("Succeeded", true), Format::Table, now());
        for part in ["State:    Succeeded\n", "1 of 3 done, 0 failed, 1 under way", r#"Spec:     {"cluster":"east"}"#] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("Steps:"), "{text}");
    }

    #[test]
    fn changed_journals_are_a_failure() {
        let id = operation("Running", false).id;
        for (whole, expected) in [(true, true), (false, false)] {
            let found = Verification { entries: 4, whole, problem: None };
            assert_eq!(verdict(id, &found).is_ok(), expected, "whole {whole}");
        }
    }
}
