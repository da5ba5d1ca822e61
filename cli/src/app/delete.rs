//! Deletes an Application.

use std::time::Duration;

use crds::Application;
use crds::application::v1alpha1::{DeletionPolicy, PendingDeletes};
use kube::api::DeleteParams;

use super::confirm;
use crate::args::AppArg;
use crate::failure::Failure;
use crate::hub::{Hub, call, watch_until};
use crate::progress::Progress;
use crate::shell::emit;

/// `meridian app delete`
pub(super) async fn run(
    app: &AppArg,
    yes: bool,
    timeout: Duration,
    hub: &Hub,
    progress: Progress,
) -> Result<(), Failure> {
    let namespace = hub.namespace(app.namespace.as_deref());
    let (name, what) = (app.name.as_str(), format!("application {namespace}/{}", app.name));
    let object = hub.app(&namespace, name).await?;
    let keeps = object.spec.deletion.policy == DeletionPolicy::Orphan;
    let effect = if keeps {
        "what it delivered stays and runs on"
    } else {
        "everything it delivered is deleted in every cluster"
    };
    if !yes {
        if !progress.interactive() {
            return Err(Failure::Usage("this needs a confirmation and nobody can be asked here; add --yes".to_owned()));
        }
        let placed = object.status.map(|status| status.placed).unwrap_or_default();
        let question = format!("{what} runs {placed} replicas; {effect}. Type its name to go on:");
        let answer = Progress::ask(&question).map_err(|error| Failure::Failed(error.to_string()))?;
        if answer != name {
            return Err(Failure::Refused("not confirmed; nothing was changed".to_owned()));
        }
    }
    let api = hub.apps(&namespace);
    call(&what, api.delete(name, &DeleteParams::default())).await?;
    progress.done(format!("{what} is being removed; {effect}"));
    if timeout.is_zero() {
        return Ok(());
    }
    let end = watch_until(hub.apps(&namespace), &what, name, timeout, |app| Ok(end_of(app))).await?;
    match end {
        Some(End::Gone) => {
            progress.done(format!("{what} is gone"));
            Ok(())
        }
        Some(End::Waits(pending)) => {
            emit(&confirm::table(&pending))?;
            Err(confirm::waits(&namespace, name, &pending))
        }
        None => Err(Failure::TimedOut(format!(
            "{what} is not gone yet; removal goes on: `meridian app describe {name} -n {namespace}`"
        ))),
    }
}

/// How waiting for a deletion ends.
#[derive(Debug, PartialEq)]
enum End {
    Gone,
    /// It goes on only when a person confirms.
    Waits(Box<PendingDeletes>),
}

fn end_of(app: Option<Application>) -> Option<End> {
    let Some(app) = app else { return Some(End::Gone) };
    // What waited before the deletion began is decided anew with it.
    let decided = app.metadata.deletion_timestamp.is_some();
    app.status.filter(|_| decided)?.pending_deletes.map(|pending| End::Waits(Box::new(pending)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deletion_that_waits_is_not_waited_for() {
        let app = |deleted: bool, pending: bool| -> Application {
            let mut value = serde_json::json!({
                "apiVersion": "fleet.meridian.io/v1alpha1", "kind": "Application",
                "metadata": { "name": "shop" }, "spec": { "components": [] }, "status": {},
            });
            if deleted {
                value["metadata"]["deletionTimestamp"] = "2026-11-02T03:04:05Z".into();
            }
            if pending {
                value["status"]["pendingDeletes"] =
                    serde_json::json!({ "plan": "a1", "objects": [], "count": 12, "reason": "many" });
            }
            serde_json::from_value(value).unwrap()
        };
        assert_eq!(end_of(None), Some(End::Gone));
        assert_eq!(end_of(Some(app(true, false))), None);
        assert_eq!(end_of(Some(app(false, true))), None);
        assert!(matches!(end_of(Some(app(true, true))), Some(End::Waits(pending)) if pending.plan == "a1"));
    }
}
