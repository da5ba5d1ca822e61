//! Shows Applications: `meridian app list`, `describe` and `history`.

use crds::application::v1alpha1::ObjectStatus;
use crds::{Application, condition};
use jiff::Timestamp;

use super::status;
use crate::args::AppArg;
use crate::failure::Failure;
use crate::hub::Hub;
use crate::messages::{Said, grouped};
use crate::output::{self, Format, Table, age, or_dash, structured};
use crate::progress::Progress;
use crate::shell::emit;

/// Runs `meridian app list`.
pub(super) async fn list(
    namespace: Option<&str>,
    selector: Option<&str>,
    format: Format,
    hub: &Hub,
    progress: Progress,
) -> Result<(), Failure> {
    let apps = hub.all_apps(namespace, selector).await?;
    if let Some(text) = structured(format, &output::list_of(&apps)?)? {
        return emit(&text);
    }
    if apps.is_empty() {
        let place = namespace.map_or("any namespace".to_owned(), |namespace| format!("namespace {namespace}"));
        progress.hint(format!("there is no application in {place}"));
        return Ok(());
    }
    emit(&table(&apps, namespace.is_none(), format, Timestamp::now()))
}

fn table(apps: &[Application], namespaces: bool, format: Format, now: Timestamp) -> String {
    if format == Format::Name {
        let name = |app: &Application| output::title::<Application>(app.metadata.name.as_deref().unwrap_or_default());
        return apps.iter().map(|app| name(app) + "\n").collect();
    }
    let mut header = vec!["NAME", "READY", "DESIRED", "PLACED", "AVAILABLE", "UPDATED", "ZONES", "REVISION", "AGE"];
    if namespaces {
        header.insert(0, "NAMESPACE");
    }
    if format == Format::Wide {
        header.push("MESSAGE");
    }
    let mut table = Table::new(header);
    for app in apps {
        let status = app.status.clone().unwrap_or_default();
        let ready = output::condition(&status.conditions, condition::READY);
        let mut row = vec![
            or_dash(app.metadata.name.as_deref()),
            ready.map_or("Unknown", |ready| &ready.status).to_owned(),
            status.desired.to_string(),
            status.placed.to_string(),
            status.available.to_string(),
            status.updated.to_string(),
            or_dash(status.zones.as_deref()),
            or_dash(status.revision.as_deref()),
            age(app.metadata.creation_timestamp.as_ref(), now),
        ];
        if namespaces {
            row.insert(0, or_dash(app.metadata.namespace.as_deref()));
        }
        if format == Format::Wide {
            row.push(or_dash(ready.map(|ready| ready.message.as_str())));
        }
        table.row(row);
    }
    table.render()
}

/// Runs `meridian app describe`.
pub(super) async fn describe(app: &AppArg, format: Format, hub: &Hub) -> Result<(), Failure> {
    let namespace = hub.namespace(app.namespace.as_deref());
    let mut object = hub.app(&namespace, &app.name).await?;
    let text = structured(format, &output::object(&object)?)?;
    object.status = Some(status::dated(object.status.unwrap_or_default(), &hub.all_clusters().await?));
    emit(&text.unwrap_or_else(|| description(&object, Timestamp::now())))
}

/// Lists the declared components, as `name (Kind)`.
pub(super) fn components(app: &Application) -> Vec<String> {
    let kind = |template: &serde_json::Value| template["kind"].as_str().unwrap_or("?").to_owned();
    let all = app.spec.components.iter();
    all.map(|component| format!("{} ({})", component.name, kind(&component.template))).collect()
}

fn description(app: &Application, now: Timestamp) -> String {
    let status = app.status.clone().unwrap_or_default();
    let decision = status.decision.clone().unwrap_or_default();
    let mut text = output::fields(&[
        ("Name", or_dash(app.metadata.name.as_deref())),
        ("Namespace", or_dash(app.metadata.namespace.as_deref())),
        ("Components", components(app).join(", ")),
        ("Revision", or_dash(status.revision.as_deref())),
        ("Decided", age(decision.at.as_ref(), now) + " ago"),
        ("Decision", or_dash(Some(&decision.summary))),
    ]);
    text.push_str("\nReplicas:\n");
    text.push_str(&output::indent(&status::table(&status, now)));
    text.push_str("\nConditions:\n");
    text.push_str(&output::indent(&output::conditions(&status.conditions, now).render()));
    if !status.objects.is_empty() {
        text.push_str("\nObjects that are not as they should be:\n");
        text.push_str(&output::indent(&troubled(&status.objects)));
    }
    text
}

/// Formats objects with problems as a table. A message that many clusters share appears once.
fn troubled(objects: &[ObjectStatus]) -> String {
    let said: Vec<Said<'_>> = objects
        .iter()
        .map(|object| Said { place: &object.cluster, cluster: &object.cluster, message: &object.message })
        .collect();
    let messages = grouped(&said);
    let mut table = Table::new(["CLUSTER", "COMPONENT", "KIND", "NAME", "STATE", "MESSAGE"]);
    for (object, message) in objects.iter().zip(messages.column) {
        table.row([
            object.cluster.clone(),
            object.component.clone(),
            object.kind.clone(),
            object.name.clone(),
            object.state.clone(),
            message,
        ]);
    }
    table.render() + &messages.below
}

/// Runs `meridian app history`.
pub(super) async fn history(app: &AppArg, format: Format, hub: &Hub) -> Result<(), Failure> {
    let namespace = hub.namespace(app.namespace.as_deref());
    let status = hub.app(&namespace, &app.name).await?.status.unwrap_or_default();
    if let Some(text) = structured(format, &status.history)? {
        return emit(&text);
    }
    let now = Timestamp::now();
    let mut table = Table::new(["REVISION", "TAKEN IN", "WAS READY", "CURRENT"]);
    for revision in &status.history {
        let yes = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
        table.row([
            revision.revision.clone(),
            age(revision.at.as_ref(), now),
            yes(revision.was_ready),
            yes(status.revision.as_deref() == Some(&revision.revision)),
        ]);
    }
    emit(&table.render())
}
