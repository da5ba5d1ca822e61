//! `meridian app status`: numbers per cell, and waiting until they are as asked.

use std::time::Duration;

use crds::application::v1alpha1::{ApplicationStatus, CellReplicas};
use crds::{Application, Cluster, condition};
use jiff::Timestamp;

use crate::args::AppArg;
use crate::failure::Failure;
use crate::hub::{Hub, watch_until};
use crate::output::{self, Format, Table, age, or_dash, structured};
use crate::progress::Progress;
use crate::shell::emit;

pub(super) async fn run(
    app: &AppArg,
    wait: Option<Duration>,
    format: Format,
    hub: &Hub,
    progress: Progress,
) -> Result<(), Failure> {
    let namespace = hub.namespace(app.namespace.as_deref());
    let mut object = hub.app(&namespace, &app.name).await?;
    let what = format!("application {namespace}/{}", app.name);
    let mut in_time = true;
    if let Some(limit) = wait {
        let mut told = String::new();
        let ready = watch_until(hub.apps(&namespace), &what, &app.name, limit, |seen| {
            let Some(seen) = seen else { return Err(Failure::NotFound(format!("{what} is gone"))) };
            let (ready, message) = standing(&seen);
            if ready {
                return Ok(Some(seen));
            }
            if message != told {
                progress.doing(&message);
                told = message;
            }
            Ok(None)
        })
        .await?;
        if let Some(seen) = ready {
            object = seen
        } else {
            in_time = false;
            object = hub.app(&namespace, &app.name).await?;
        }
    }
    let status = dated(object.status.clone().unwrap_or_default(), &hub.all_clusters().await?);
    let text = structured(
        format,
        &serde_json::json!({ "metadata": { "name": app.name, "namespace": namespace }, "status": status }),
    )?;
    emit(&text.unwrap_or_else(|| table(&status, Timestamp::now())))?;
    match standing(&object) {
        (true, _) => Ok(()),
        (false, message) if !in_time => Err(Failure::TimedOut(format!("{what} is not ready in time: {message}"))),
        (false, message) => Err(Failure::Failed(format!("{what} is not ready: {message}"))),
    }
}

/// Whether it is ready by what its status says of the spec as it is now, and why not.
pub(super) fn standing(object: &Application) -> (bool, String) {
    let status = object.status.clone().unwrap_or_default();
    if status.observed_generation != object.metadata.generation {
        return (false, "the change was not taken in yet".to_owned());
    }
    match output::condition(&status.conditions, condition::READY) {
        Some(ready) => (ready.status == "True", format!("{}: {}", ready.reason, ready.message)),
        None => (false, "nothing is known yet".to_owned()),
    }
}

/// Numbers that did not change are as fresh as the last sign of life of their cluster: a watch would have told.
pub(super) fn dated(mut status: ApplicationStatus, clusters: &[Cluster]) -> ApplicationStatus {
    for cell in status.cells.iter_mut().filter(|cell| !cell.stale) {
        let cluster = clusters.iter().find(|cluster| cluster.metadata.name.as_deref() == Some(&cell.cluster));
        let seen = cluster.and_then(|cluster| cluster.status.as_ref()?.as_of.clone());
        cell.as_of = seen.max(cell.as_of.take());
    }
    status
}

/// Numbers per cell and in all.
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
    for cell in &status.cells {
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
            or_dash(cell.message.as_deref()),
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
    table.render()
}

/// The zone; of a cell that spans several, ready replicas in each.
fn zones(cell: &CellReplicas) -> String {
    let by_zone: Vec<String> = cell.ready_by_zone.iter().map(|(zone, ready)| format!("{zone}={ready}")).collect();
    if by_zone.is_empty() { cell.zone.clone() } else { by_zone.join(",") }
}

fn known(cell: &CellReplicas, now: Timestamp) -> String {
    let age = age(cell.as_of.as_ref(), now);
    if cell.stale { format!("{age} STALE") } else { age }
}
