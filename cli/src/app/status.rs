//! `meridian app status`: prints replicas per cell, and waits until the Application is ready.

use std::time::Duration;

use crds::application::v1alpha1::{ApplicationStatus, CellReplicas};
use crds::{Application, Cluster, condition};
use jiff::Timestamp;

use crate::args::{AppArg, PauseFlag};
use crate::failure::Failure;
use crate::hub::{Hub, watch_until};
use crate::messages::{Said, grouped};
use crate::output::{self, Format, Table, age, or_dash, structured};
use crate::progress::Progress;
use crate::shell::emit;

pub(super) async fn run(
    app: &AppArg,
    wait: Option<Duration>,
    pause: PauseFlag,
    format: Format,
    hub: &Hub,
    progress: Progress,
) -> Result<(), Failure> {
    let namespace = hub.namespace(app.namespace.as_deref());
    let mut object = hub.app(&namespace, &app.name).await?;
    let what = format!("application {namespace}/{}", app.name);
    if let Some(limit) = wait {
        let mut shown = String::new();
        let seen = watch_until(hub.apps(&namespace), &what, &app.name, limit, |seen| {
            let Some(seen) = seen else { return Err(Failure::Superseded(format!("{what} is gone"))) };
            let standing = standing(&seen);
            if standing.ends_waiting(pause) {
                return Ok(Some(seen));
            }
            if standing.message != shown {
                progress.doing(&standing.message);
                shown = standing.message;
            }
            Ok(None)
        })
        .await?;
        object = match seen {
            Some(seen) => seen,
            None => hub.app(&namespace, &app.name).await?,
        };
    }
    let status = dated(object.status.clone().unwrap_or_default(), &hub.all_clusters().await?);
    let text = structured(
        format,
        &serde_json::json!({ "metadata": { "name": app.name, "namespace": namespace }, "status": status }),
    )?;
    emit(&text.unwrap_or_else(|| table(&status, Timestamp::now())))?;
    standing(&object).verdict(&what, wait.is_some(), pause)
}

/// Progress of an Application, as its status reports it for the present spec.
struct Standing {
    stage: Stage,
    /// Reason and message of the condition `Ready`.
    message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Ready,
    Working,
    /// Deletes wait until a person confirms them.
    Paused,
    /// Only a person can resolve the problem.
    Stalled,
}

impl Standing {
    /// Whether this state ends the waiting.
    ///
    /// A person may resolve a problem while the command waits. Only a pause ends the waiting early, with
    /// `exit_on_pause`.
    fn ends_waiting(&self, pause: PauseFlag) -> bool {
        self.stage == Stage::Ready || self.stage == Stage::Paused && pause.exit_on_pause
    }

    fn verdict(self, what: &str, waited: bool, pause: PauseFlag) -> Result<(), Failure> {
        let in_time = if waited { " in time" } else { "" };
        let message = format!("{what} is not ready{in_time}: {}", self.message);
        match self.stage {
            Stage::Ready => Ok(()),
            Stage::Paused if pause.exit_on_pause => Err(Failure::Waits(message)),
            Stage::Working | Stage::Paused => Err(Failure::TimedOut(message)),
            Stage::Stalled => Err(Failure::NotReady(message)),
        }
    }
}

fn standing(object: &Application) -> Standing {
    let status = object.status.clone().unwrap_or_default();
    let working = |message: &str| Standing { stage: Stage::Working, message: message.to_owned() };
    if status.observed_generation != object.metadata.generation {
        return working("the change was not taken in yet");
    }
    let Some(ready) = output::condition(&status.conditions, condition::READY) else {
        return working("nothing is known yet");
    };
    let stalled = || output::condition(&status.conditions, condition::STALLED).is_some_and(|it| it.status == "True");
    let stage = match &*ready.status {
        "True" => Stage::Ready,
        _ if status.pending_deletes.is_some() => Stage::Paused,
        _ if stalled() => Stage::Stalled,
        _ => Stage::Working,
    };
    Standing { stage, message: format!("{}: {}", ready.reason, ready.message) }
}

/// Dates each cell that is not stale by the last observation of its cluster.
///
/// A number that did not change is as fresh as that observation, because a watch would have reported a change.
pub(super) fn dated(mut status: ApplicationStatus, clusters: &[Cluster]) -> ApplicationStatus {
    for cell in status.cells.iter_mut().filter(|cell| !cell.stale) {
        let cluster = clusters.iter().find(|cluster| cluster.metadata.name.as_deref() == Some(&cell.cluster));
        let seen = cluster.and_then(|cluster| cluster.status.as_ref()?.as_of.clone());
        cell.as_of = seen.max(cell.as_of.take());
    }
    status
}

/// Formats the numbers per cell and their totals.
pub(super) fn table(status: &ApplicationStatus, now: Timestamp) -> String {
    let mut table = Table::new([
        "CELL",
        "CLUSTER",
        "ZONE",
        "DESIRED",
        "PLACED",
        "READY",
        "AVAILABLE",
        "UPDATED",
        "REVISION",
        "AS OF",
        "MESSAGE",
    ]);
    let said: Vec<Said<'_>> = status
        .cells
        .iter()
        .map(|cell| Said {
            place: &cell.cell,
            cluster: &cell.cluster,
            message: cell.message.as_deref().unwrap_or_default(),
        })
        .collect();
    let messages = grouped(&said);
    for (cell, message) in status.cells.iter().zip(messages.column) {
        table.row([
            cell.cell.clone(),
            cell.cluster.clone(),
            zones(cell),
            cell.desired.to_string(),
            cell.placed.to_string(),
            cell.ready.to_string(),
            cell.available.to_string(),
            cell.updated.to_string(),
            cell.revision.clone(),
            known(cell, now),
            message,
        ]);
    }
    table.row([
        "total".to_owned(),
        String::new(),
        String::new(),
        status.desired.to_string(),
        status.placed.to_string(),
        status.ready.to_string(),
        status.available.to_string(),
        status.updated.to_string(),
        or_dash(status.revision.as_deref()),
        String::new(),
        if status.stale_ready > 0 {
            format!("{} more were ready where it is silent now", status.stale_ready)
        } else {
            String::new()
        },
    ]);
    table.render() + &messages.below
}

/// Returns the zone of a cell, or the ready replicas per zone if the cell spans several.
fn zones(cell: &CellReplicas) -> String {
    let by_zone: Vec<String> = cell.ready_by_zone.iter().map(|(zone, ready)| format!("{zone}={ready}")).collect();
    if by_zone.is_empty() { cell.zone.clone() } else { by_zone.join(",") }
}

fn known(cell: &CellReplicas, now: Timestamp) -> String {
    let age = age(cell.as_of.as_ref(), now);
    if cell.stale { format!("{age} STALE") } else { age }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn app(ready: &str, stalled: &str, pending: bool, observed: i64) -> Application {
        let condition = |type_: &str, status: &str| {
            json!({ "type": type_, "status": status, "reason": "R", "message": "m",
                    "lastTransitionTime": "2026-11-02T03:04:05Z" })
        };
        let mut value = json!({
            "apiVersion": "fleet.meridian.io/v1alpha1", "kind": "Application",
            "metadata": { "name": "web", "generation": 2 }, "spec": { "components": [] },
            "status": { "observedGeneration": observed,
                        "conditions": [condition("Ready", ready), condition("Stalled", stalled)] },
        });
        if pending {
            value["status"]["pendingDeletes"] = json!({ "plan": "a1", "objects": [], "count": 12, "reason": "many" });
        }
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn status_ends_with_what_can_still_happen() {
        for (case, object, on_pause, ends, expected) in [
            ("ready", app("True", "False", false, 2), false, true, None),
            ("a change on its way", app("True", "False", false, 1), false, false, Some("TimedOut")),
            ("works", app("Unknown", "False", false, 2), false, false, Some("TimedOut")),
            ("needs a person", app("False", "True", false, 2), true, false, Some("NotReady")),
            ("pauses", app("False", "True", true, 2), false, false, Some("TimedOut")),
            ("pauses, and that ends it", app("False", "True", true, 2), true, true, Some("Waits")),
        ] {
            let pause = PauseFlag { exit_on_pause: on_pause };
            assert_eq!(standing(&object).ends_waiting(pause), ends, "{case}");
            let failure = standing(&object).verdict("application shop/web", ends, pause).err();
            let name = failure.map(|failure| format!("{failure:?}").split('(').next().unwrap_or_default().to_owned());
            assert_eq!(name.as_deref(), expected, "{case}");
        }
    }
}
