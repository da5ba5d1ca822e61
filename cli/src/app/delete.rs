//! `meridian app delete`: deletes an Application.

use std::collections::BTreeMap;

use crds::Application;
use crds::application::v1alpha1::{DeletionPolicy, PendingDeletes};
use kube::api::{DeleteParams, Preconditions};
use serde::Serialize;
use vocabulary::labels;

use super::{confirm, look};
use crate::args::DeleteArgs;
use crate::failure::Failure;
use crate::hub::{Hub, call, watch_until};
use crate::output::{Format, Table, title};
use crate::progress::Progress;
use crate::shell::{emit, outcome};

/// Result of a deletion, for programs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    namespace: String,
    name: String,
    dry_run: bool,
    /// `Present`, `Deleting` or `Gone`, or `Waits` until a person confirms.
    state: &'static str,
    /// Whether the delivered objects are deleted or kept.
    policy: DeletionPolicy,
    /// Declared components, as `name (Kind)`.
    components: Vec<String>,
    /// Replicas in each cluster when the command began.
    replicas: BTreeMap<String, i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pending_deletes: Option<Box<PendingDeletes>>,
}

impl Report {
    fn of(app: &Application, dry_run: bool) -> Self {
        let mut replicas = BTreeMap::new();
        for cell in app.status.iter().flat_map(|status| &status.cells) {
            *replicas.entry(cell.cluster.clone()).or_default() += cell.placed;
        }
        Self {
            namespace: app.metadata.namespace.clone().unwrap_or_default(),
            name: app.metadata.name.clone().unwrap_or_default(),
            dry_run,
            state: if app.metadata.deletion_timestamp.is_some() { "Deleting" } else { "Present" },
            policy: app.spec.deletion.policy,
            components: look::components(app),
            replicas,
            pending_deletes: None,
        }
    }

    fn effect(&self) -> &'static str {
        match self.policy {
            DeletionPolicy::Orphan => "what it delivered stays and runs on",
            DeletionPolicy::Delete => "everything it delivered is deleted in every cluster",
        }
    }

    /// Prints the replicas per cluster for people in a dry run, and the whole report for programs.
    fn show(&self, format: Format) -> Result<(), Failure> {
        if self.dry_run && matches!(format, Format::Table | Format::Wide) && !self.replicas.is_empty() {
            let mut table = Table::new(["CLUSTER", "REPLICAS"]);
            for (cluster, replicas) in &self.replicas {
                table.row([cluster.clone(), replicas.to_string()]);
            }
            return emit(&table.render());
        }
        outcome(format, &title::<Application>(&self.name), self)
    }
}

/// Runs `meridian app delete`.
pub(super) async fn run(args: &DeleteArgs, hub: &Hub, progress: Progress) -> Result<(), Failure> {
    let namespace = hub.namespace(args.app.namespace.as_deref());
    let (name, format) = (args.app.name.as_str(), args.output.output);
    let what = format!("application {namespace}/{name}");
    let app = hub.app(&namespace, name).await?;
    let uid = app.metadata.uid.clone().unwrap_or_default();
    let mut report = Report::of(&app, args.consent.dry_run);
    let effect = report.effect();
    let placed: i32 = report.replicas.values().sum();
    if args.consent.dry_run {
        report.show(format)?;
        progress.done(format!("{what} declares {} and runs {placed} replicas; {effect}", report.components.join(", ")));
        progress.hint("nothing was changed; run it without --dry-run to delete it");
        return Ok(());
    }
    if !args.consent.yes {
        if !progress.interactive() {
            return Err(Failure::Usage("this needs a confirmation and nobody can be asked here; add --yes".to_owned()));
        }
        let question = format!("{what} runs {placed} replicas; {effect}. Type its name to go on:");
        let answer = Progress::ask(&question).map_err(|error| Failure::Failed(error.to_string()))?;
        if answer != name {
            return Err(Failure::Superseded("not confirmed; nothing was changed".to_owned()));
        }
    }
    // The user named the Application and so confirmed its deletion; the mass-delete guard asks for nothing more. The
    // precondition deletes this object only, and not one that took its name meanwhile.
    hub.annotate_app(&namespace, name, labels::CONFIRM_DELETE, &uid).await?;
    let only_this = DeleteParams {
        preconditions: Some(Preconditions { uid: Some(uid), resource_version: None }),
        ..DeleteParams::default()
    };
    call(&what, hub.apps(&namespace).delete(name, &only_this)).await?;
    progress.done(format!("{what} is being removed; {effect}"));
    report.state = "Deleting";
    let Some(limit) = args.wait.limit() else { return report.show(format) };
    let mut waits = None;
    let ended = watch_until(hub.apps(&namespace), &what, name, limit, |app| {
        let standing = standing_of(app);
        if let Standing::Waits(pending) = &standing {
            let hint = confirm::waits(&namespace, name, pending);
            if waits.as_ref() != Some(&hint) && !args.pause.exit_on_pause {
                progress.hint(&hint);
            }
            waits = Some(hint);
        }
        Ok(standing.end(args.pause.exit_on_pause))
    });
    match ended.await? {
        Some(Standing::Waits(pending)) => {
            if matches!(format, Format::Table | Format::Wide) {
                emit(&confirm::table(&pending))?;
            }
            (report.state, report.pending_deletes) = ("Waits", Some(pending));
            report.show(format)?;
            Err(Failure::Waits(waits.unwrap_or_default()))
        }
        Some(_) => {
            progress.done(format!("{what} is gone"));
            report.state = "Gone";
            report.show(format)
        }
        None => {
            report.show(format)?;
            Err(Failure::TimedOut(format!(
                "{what} is not gone yet; removal goes on: `meridian app describe {name} -n {namespace}`"
            )))
        }
    }
}

/// State of a deletion.
#[derive(Debug, PartialEq)]
enum Standing {
    GoesOn,
    /// The deletion continues only when a person confirms it.
    Waits(Box<PendingDeletes>),
    Gone,
}

impl Standing {
    /// Returns the state if it ends the waiting.
    ///
    /// A person may confirm a waiting deletion at any time. It ends the waiting only with `exit_on_pause`.
    fn end(self, exit_on_pause: bool) -> Option<Self> {
        match self {
            Self::GoesOn => None,
            Self::Waits(_) => exit_on_pause.then_some(self),
            Self::Gone => Some(self),
        }
    }
}

fn standing_of(app: Option<Application>) -> Standing {
    let Some(app) = app else { return Standing::Gone };
    // Deletes that waited before the deletion began are decided again as part of it.
    let decided = app.metadata.deletion_timestamp.is_some();
    let pending = app.status.filter(|_| decided).and_then(|status| status.pending_deletes);
    pending.map_or(Standing::GoesOn, |pending| Standing::Waits(Box::new(pending)))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn replicas_to_delete_are_counted_by_cluster() {
        let cell = |cell: &str, cluster: &str, placed: i32| {
            serde_json::json!({ "cell": cell, "cluster": cluster, "region": "n", "zone": "n1", "desired": placed,
                "placed": placed, "ready": 0, "available": 0, "updated": 0, "revision": "r" })
        };
        let app = serde_json::from_value(serde_json::json!({
            "apiVersion": "fleet.meridian.io/v1alpha1", "kind": "Application",
            "metadata": { "name": "web", "namespace": "shop" },
            "spec": { "components": [{ "name": "server", "template": { "kind": "Deployment" } }] },
            "status": { "cells": [cell("a", "north", 2), cell("b", "north", 1), cell("south", "south", 4)] },
        }))
        .unwrap();
        let report = serde_json::to_string(&Report::of(&app, true)).unwrap();
        expect![[r#"{"namespace":"shop","name":"web","dryRun":true,"state":"Present","policy":"Delete","components":["server (Deployment)"],"replicas":{"north":3,"south":4}}"#]]
            .assert_eq(&report);
    }

    #[test]
    fn a_pause_ends_the_waiting_only_where_asked() {
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
        for (case, seen, on_pause, ends) in [
            ("gone", None, false, true),
            ("goes on", Some(app(true, false)), true, false),
            ("waits since before the deletion", Some(app(false, true)), true, false),
            ("waits", Some(app(true, true)), false, false),
            ("waits, and a pause ends it", Some(app(true, true)), true, true),
        ] {
            assert_eq!(standing_of(seen).end(on_pause).is_some(), ends, "{case}");
        }
        let waiting = standing_of(Some(app(true, true))).end(true);
        assert!(matches!(&waiting, Some(Standing::Waits(pending)) if pending.plan == "a1"), "{waiting:?}");
    }
}
