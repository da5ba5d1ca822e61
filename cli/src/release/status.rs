//! `meridian release status`: batches and replicas of a release, once or until it is over.

use std::time::Duration;

use jiff::Timestamp;
use rest::{Application, Client, Operation, PlacedObject};
use serde::Serialize;

use super::{AppRef, last_release};
use crate::args::ReleaseStatusArgs;
use crate::failure::Failure;
use crate::op::{LiveTable, changed_lines, end_of, is_waiting_for_person, render, title, wait_reason};
use crate::output::{Format, Table, or_dash, structured};
use crate::progress::Progress;
use crate::shell::emit;

/// Interval between two looks at replicas, which change without an entry in the journal.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// A release with the replicas of its Application.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Seen {
    release: Operation,
    application: Application,
    placement: Vec<PlacedObject>,
}

/// Runs `meridian release status`.
pub(super) async fn run(
    args: &ReleaseStatusArgs,
    app: &AppRef,
    client: &Client,
    progress: Progress,
) -> Result<(), Failure> {
    let format = args.output.output;
    let release = last_release(app, client).await?;
    let mut seen = look(&release, app, client).await?;
    if args.watch {
        seen = watch(seen, app, client, progress).await?;
    }
    let text = structured(format, &seen)?;
    emit(&text.unwrap_or_else(|| status(&seen, format, Timestamp::now())))?;
    let release = &seen.release;
    if release.done {
        return end_of(release, client).await;
    }
    let waits = if is_waiting_for_person(release) { format!("; {}", wait_reason(release)) } else { String::new() };
    Err(Failure::TimedOut(format!("{} is {}{waits}", title(release), release.state)))
}

async fn look(release: &Operation, app: &AppRef, client: &Client) -> Result<Seen, Failure> {
    let failed = |error| Failure::server(&app.to_string(), &error);
    Ok(Seen {
        release: client.operation(release.id).await.map_err(failed)?,
        application: client.application(&app.namespace, &app.name).await.map_err(failed)?,
        placement: client.placement(&app.namespace, &app.name).await.map_err(failed)?,
    })
}

/// Shows each change until the release is over, or the user presses Ctrl-C.
async fn watch(first: Seen, app: &AppRef, client: &Client, progress: Progress) -> Result<Seen, Failure> {
    let mut table = progress.is_terminal().then(LiveTable::default);
    let mut before: Option<Seen> = None;
    let mut seen = first;
    loop {
        if let Some(table) = &mut table {
            table.draw(&status(&seen, Format::Table, Timestamp::now()));
        } else {
            for line in changed_lines(before.as_ref().map(|before| &before.release), &seen.release) {
                progress.doing(line);
            }
        }
        if seen.release.done {
            return Ok(seen);
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_AGAIN) => {}
            _ = tokio::signal::ctrl_c() => return Ok(seen),
        }
        let next = look(&seen.release, app, client).await?;
        before = Some(std::mem::replace(&mut seen, next));
    }
}

/// Formats the steps of a release and the replicas by cell.
fn status(seen: &Seen, format: Format, now: Timestamp) -> String {
    let replicas = replicas(&seen.placement, format);
    let mut text = render(&seen.release, now);
    if let Some(failure) = seen.release.failure.as_ref() {
        text.push_str(&format!("{}\n", failure.split_whitespace().collect::<Vec<_>>().join(" ")));
    }
    if !replicas.is_empty() {
        text.push('\n');
        text.push_str(&replicas.render());
    }
    text
}

/// Formats the objects that have a share of the replicas, by cell.
fn replicas(objects: &[PlacedObject], format: Format) -> Table {
    let header = ["CELL", "SLOT", "REVISION", "TARGET", "READY", "AVAILABLE", "STATE"];
    let is_wide = format == Format::Wide;
    let mut table = Table::new(header.into_iter().chain(is_wide.then_some("MESSAGE")));
    let mut shared: Vec<&PlacedObject> = objects.iter().filter(|object| object.target.is_some()).collect();
    shared.sort_by(|a, b| (&a.cell, b.slot == "main", &a.name).cmp(&(&b.cell, a.slot == "main", &b.name)));
    for object in shared {
        let row = [
            object.cell.clone(),
            or_dash(Some(&object.slot)),
            or_dash(Some(&object.revision)),
            object.target.unwrap_or_default().to_string(),
            object.ready.to_string(),
            object.available.to_string(),
            object.state.clone(),
        ];
        table.row(row.into_iter().chain(is_wide.then(|| or_dash(object.message.as_deref()))));
    }
    table
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;

    fn object(cell: &str, slot: &str, revision: &str, target: Option<i32>) -> PlacedObject {
        serde_json::from_value(json!({
            "component": "web", "cell": cell, "slot": slot, "revision": revision, "cluster": cell, "kind": "Deployment",
            "namespace": "shop", "name": "web", "desired": "Present", "target": target, "state": "Ready",
            "ready": 3, "available": 2, "stale": false,
        }))
        .unwrap()
    }

    #[test]
    fn replicas_are_shown_by_cell_with_the_main_slot_first() {
        let objects = [
            object("west", "main", "old0000000", Some(5)),
            object("east", "gray", "new0000000", Some(1)),
            object("east", "main", "old0000000", Some(4)),
            object("east", "main", "old0000000", None),
        ];
        expect![[r"
            CELL   SLOT   REVISION     TARGET   READY   AVAILABLE   STATE
            east   main   old0000000        4       3           2   Ready
            east   gray   new0000000        1       3           2   Ready
            west   main   old0000000        5       3           2   Ready
        "]]
        .assert_eq(&replicas(&objects, Format::Table).render());
    }
}
