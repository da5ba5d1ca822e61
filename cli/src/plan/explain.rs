//! `meridian explain placement`: shows how the placement of an Application is decided.

use jiff::Timestamp;

use super::fleet::{Fleet, key};
use super::tables;
use crate::args::ExplainCommand;
use crate::failure::Failure;
use crate::hub::Hub;
use crate::output::{age, structured};
use crate::progress::Progress;
use crate::shell::emit;

/// Runs one `meridian explain` command.
pub(crate) async fn run(
    command: ExplainCommand,
    hub: impl AsyncFnOnce() -> Result<Hub, Failure>,
    progress: Progress,
) -> Result<(), Failure> {
    let ExplainCommand::Placement { app, from, output } = command;
    let (fleet, hub) = Fleet::read(&from.from, hub).await?;
    let namespace = hub.as_ref().map(|hub| hub.namespace(app.namespace.as_deref())).or(app.namespace);
    let object = fleet.app(namespace.as_deref(), &app.name)?;
    let question = fleet.question(object)?;
    let outcome = question.decide(&fleet.topology, &[]);
    if let Some(text) = structured(output.output, &outcome)? {
        return emit(&text);
    }
    for remark in &fleet.remarks {
        progress.warn(remark);
    }
    let pod = question.pod;
    let others = question.others.total();
    let asked = if question.is_divided {
        let beside = if others > 0 { format!(", and {others} of other components") } else { String::new() };
        format!("{} replicas of {}m CPU and {} MiB each{beside}", question.replicas, pod.cpu_milli, pod.memory_mi)
    } else {
        format!("{others} replicas, as the template of each component says for a cell")
    };
    let mut text = format!(
        "Application {}: {asked}\n{}\n{}\n{}",
        key(object),
        tables::PRECEDENCE,
        tables::cells(&outcome, &fleet.display_names, output.output),
        tables::remarks(&outcome),
    );
    if let Some(last) = object.status.as_ref().and_then(|status| status.decision.as_ref()) {
        let changes: Vec<String> = last
            .cells
            .iter()
            .filter(|cell| cell.before != cell.target)
            .map(|cell| format!("{} {} → {}", cell.cell, cell.before, cell.target))
            .collect();
        let changes = if changes.is_empty() { "no number changed".to_owned() } else { changes.join(", ") };
        text.push_str(&format!(
            "\nLast decision, {} ago: {changes}\n  {}\n",
            age(last.at.as_ref(), Timestamp::now()),
            last.summary
        ));
        for cause in &last.changed {
            text.push_str(&format!("  because: {cause}\n"));
        }
    }
    emit(&text)
}
