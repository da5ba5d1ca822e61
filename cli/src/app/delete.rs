//! Deletes an Application.

use std::time::Duration;

use crds::application::v1alpha1::DeletionPolicy;
use kube::api::DeleteParams;

use crate::args::AppArg;
use crate::failure::Failure;
use crate::hub::{Hub, call, watch_until};
use crate::progress::Progress;

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
    let gone = watch_until(hub.apps(&namespace), &what, name, timeout, |app| Ok(app.is_none().then_some(()))).await?;
    match gone {
        Some(()) => {
            progress.done(format!("{what} is gone"));
            Ok(())
        }
        None => Err(Failure::TimedOut(format!(
            "{what} is not gone yet; removal goes on: `meridian app describe {name} -n {namespace}`"
        ))),
    }
}
