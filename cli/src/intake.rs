//! `meridian intake accept`: makes an object on the hub count again after its source was lost.

use crds::{Application, condition};
use domain::{confirmation, render};
use serde::Serialize;
use vocabulary::{AppKey, hash_json, labels};

use crate::args::{AcceptArgs, IntakeCommand};
use crate::failure::Failure;
use crate::hub::Hub;
use crate::output::{self, Table, structured};
use crate::progress::Progress;
use crate::shell::emit;

/// Reason of the condition `Ready` while the operator does not trust the object on the hub.
const SOURCE_LOST: &str = "IntentSourceLost";

/// Runs one `meridian intake` command.
pub(crate) async fn run(
    command: IntakeCommand,
    hub: impl AsyncFnOnce() -> Result<Hub, Failure>,
    progress: Progress,
) -> Result<(), Failure> {
    let IntakeCommand::Accept(args) = command;
    accept(&args, &hub().await?, progress).await
}

/// One Application, and the changes that accepting its object would make.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Change {
    namespace: String,
    name: String,
    /// Hash of the spec on the hub.
    spec: String,
    /// Hash that the user confirms.
    ///
    /// Covers the spec, the object's UID and generation, and the stored intent that the spec replaces.
    acceptance: String,
    /// Revision that runs, and revision that the object declares. `None` where it cannot be read.
    revision: (Option<String>, Option<String>),
    /// Replicas desired now, and replicas that the object asks for.
    replicas: (i32, i32),
    /// Reason why the operator does not trust the object.
    why: String,
}

fn change(app: &Application) -> Result<Option<Change>, Failure> {
    let status = app.status.clone().unwrap_or_default();
    let Some(ready) =
        output::condition(&status.conditions, condition::READY).filter(|ready| ready.reason == SOURCE_LOST)
    else {
        return Ok(None);
    };
    let key = AppKey {
        namespace: app.metadata.namespace.clone().unwrap_or_default(),
        name: app.metadata.name.clone().unwrap_or_default(),
    };
    let spec = hash_json(&app.spec).map_err(|error| Failure::Failed(format!("application {key}: {error}")))?;
    let taken = status.intent_taken.ok_or_else(|| {
        Failure::Failed(format!(
            "application {key}: its status does not name what was taken in; run the command again with an operator of this version"
        ))
    })?;
    let uid = app.metadata.uid.as_deref().unwrap_or_default();
    let generation = app.metadata.generation.unwrap_or_default();
    let acceptance = confirmation::intent(spec.as_bytes(), uid, generation, &taken);
    let declared = render::blueprint(&key, &app.spec).ok().map(|blueprint| blueprint.revision.short());
    let wanted = if app.spec.suspended { 0 } else { app.spec.replicas.unwrap_or_default() };
    Ok(Some(Change {
        namespace: key.namespace,
        name: key.name,
        spec: spec.to_string(),
        acceptance: acceptance.to_string(),
        revision: (status.revision, declared),
        replicas: (status.desired, wanted),
        why: ready.message.clone(),
    }))
}

async fn accept(args: &AcceptArgs, hub: &Hub, progress: Progress) -> Result<(), Failure> {
    let changes = if let Some(name) = &args.app {
        let namespace = hub.namespace(args.namespace.as_deref());
        Vec::from_iter(change(&hub.app(&namespace, name).await?)?)
    } else {
        let apps = hub.all_apps(None, None).await?;
        apps.iter().filter_map(|app| change(app).transpose()).collect::<Result<Vec<_>, _>>()?
    };
    emit(&structured(args.output.output, &changes)?.unwrap_or_else(|| table(&changes)))?;
    if changes.is_empty() {
        let none = format!("no application waits to be accepted: no condition Ready says {SOURCE_LOST}");
        progress.done(&none);
        return args.unchanged.end("nothing was changed");
    }
    if args.dry_run {
        progress.hint("nothing was changed; run it without --dry-run to accept what is shown");
        return Ok(());
    }
    let what = if changes.len() == 1 {
        "this application".to_owned()
    } else {
        format!("these {} applications", changes.len())
    };
    progress.consent(args.yes, &format!("Let the objects on the hub count for {what}, as shown?"))?;
    for change in &changes {
        hub.annotate_app(&change.namespace, &change.name, labels::ACCEPT_INTENT, &change.acceptance).await?;
        progress.done(format!("application {}/{}: accepted spec {}", change.namespace, change.name, change.spec));
    }
    progress.hint("`meridian app list -A -o wide` shows when they are taken in");
    Ok(())
}

fn table(changes: &[Change]) -> String {
    if changes.is_empty() {
        return String::new();
    }
    let mut table = Table::new(["NAMESPACE", "NAME", "REPLICAS", "REVISION", "SPEC", "WHY"]);
    for change in changes {
        let arrow =
            |from: String, to: String| if from == to { format!("{from} (same)") } else { format!("{from} → {to}") };
        let (runs, declared) = &change.revision;
        table.row([
            change.namespace.clone(),
            change.name.clone(),
            arrow(change.replicas.0.to_string(), change.replicas.1.to_string()),
            arrow(output::or_dash(runs.as_deref()), declared.clone().unwrap_or_else(|| "not valid".to_owned())),
            change.spec.chars().take(10).collect(),
            change.why.clone(),
        ]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(reason: &str) -> Application {
        serde_json::from_value(serde_json::json!({
            "apiVersion": "fleet.meridian.io/v1alpha1", "kind": "Application",
            "metadata": { "name": "shop", "namespace": "web", "uid": "u", "generation": 3 },
            "spec": { "replicas": 5, "placement": {}, "components": [{ "name": "web", "template": {
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" },
                "spec": { "selector": { "matchLabels": { "app": "web" } }, "template": {
                    "metadata": { "labels": { "app": "web" } }, "spec": { "containers": [] } } } } }] },
            "status": { "desired": 3, "revision": "0123456789", "intentTaken": "generation 5", "conditions": [{ "type": "Ready", "status": "Unknown",
                "reason": reason, "message": "the hub has another UID", "lastTransitionTime": "2026-11-02T03:04:05Z" }] },
        }))
        .unwrap()
    }

    #[test]
    fn only_what_waits_is_offered_and_its_own_spec_is_named() {
        assert_eq!(change(&app("AsAsked")).unwrap(), None);
        let lost = app(SOURCE_LOST);
        let found = change(&lost).unwrap().unwrap();
        let spec = hash_json(&lost.spec).unwrap();
        assert_eq!(found.spec, spec.to_string());
        let acceptance = confirmation::intent(spec.as_bytes(), "u", 3, "generation 5");
        assert_eq!(found.acceptance, acceptance.to_string(), "it names the spec and what it takes the place of");
        assert_eq!(found.replicas, (3, 5));
        let shown = table(&[found]);
        assert!(shown.contains("3 → 5") && shown.contains("another UID"), "{shown}");
    }
}
