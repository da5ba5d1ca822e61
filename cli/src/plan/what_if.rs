//! `meridian what-if`: what would happen if a place were lost, or an Application changed.

use std::collections::BTreeMap;

use crds::Application;
use domain::placement::{Directive, Held};
use domain::topology::Topology;
use serde_json::json;
use vocabulary::CellName;

use super::fleet::{Fleet, Question, key};
use super::losses::{loss, lost_of, what_is_left};
use super::tables;
use crate::args::WhatIfArgs;
use crate::documents::Documents;
use crate::failure::Failure;
use crate::hub::Hub;
use crate::output::{Table, structured};
use crate::progress::Progress;
use crate::shell::emit;

/// Runs the command.
pub(crate) async fn run(
    args: WhatIfArgs,
    hub: impl AsyncFnOnce() -> Result<Hub, Failure>,
    progress: Progress,
) -> Result<(), Failure> {
    let (fleet, hub) = Fleet::read(&args.from.from, hub).await?;
    for remark in &fleet.remarks {
        progress.warn(remark);
    }
    let losses = args.lose.iter().map(|text| loss(text, &fleet.topology)).collect::<Result<Vec<_>, _>>()?;
    let losses = losses.concat();
    if args.all_namespaces {
        return everybody(&fleet, &losses, &args);
    }
    let namespace = hub.as_ref().map(|hub| hub.namespace(args.namespace.as_deref())).or_else(|| args.namespace.clone());
    let changed = changed(&fleet, &args, namespace.as_deref())?;
    let mut question = fleet.question(&changed)?;
    if let Some(replicas) = args.replicas {
        question.replicas = replicas;
    }
    let outcome = question.decide(&what_is_left(&fleet.topology, &losses), &losses);
    let lost = lost(&question, &fleet.topology, &losses);
    let names: Vec<&CellName> = lost.keys().collect();
    if let Some(text) = structured(args.output.output, &json!({ "lost": names, "decision": outcome }))? {
        return emit(&text);
    }
    let mut text = tables::cells(&outcome, &fleet.display_names, args.output.output);
    text.push('\n');
    text.push_str(&tables::remarks(&outcome));
    if !losses.is_empty() {
        text.push_str(&survival(&question, &lost));
    }
    emit(&text)
}

/// What is left at once, before anything moves.
fn survival(question: &Question, lost: &BTreeMap<CellName, i32>) -> String {
    let (gone, left) = split(question, lost);
    let verdict = if left >= question.replicas { "enough" } else { "NOT enough" };
    format!(
        "At once: {gone} of {} replicas are lost, {left} are left: {verdict} for the {} asked for. DECIDED shows where they would go.\n",
        gone + left,
        question.replicas
    )
}

/// Replicas that are lost and that are left at once.
fn split(question: &Question, lost: &BTreeMap<CellName, i32>) -> (i32, i32) {
    let gone: i32 = lost.values().sum();
    (gone, question.previous.values().map(|held| held.target).sum::<i32>() - gone)
}

/// Cells that lose replicas, with how many at most.
fn lost(question: &Question, topology: &Topology, losses: &[Directive]) -> BTreeMap<CellName, i32> {
    let of = |name: &CellName, held: &Held| lost_of(topology.cells.get(name)?, held.target, losses);
    question.previous.iter().filter_map(|(name, held)| Some((name.clone(), of(name, held)?))).collect()
}

fn changed(fleet: &Fleet, args: &WhatIfArgs, namespace: Option<&str>) -> Result<Application, Failure> {
    let Some(file) = &args.filename else {
        let name = args.app.as_deref().unwrap_or_default();
        return Ok(fleet.app(namespace, name)?.clone());
    };
    let mut found = Documents::read(std::slice::from_ref(file))?.apps;
    if let Some(name) = &args.app {
        found.retain(|app| app.metadata.name.as_ref() == Some(name));
    }
    let [mut app] = <[Application; 1]>::try_from(found).map_err(|found| {
        Failure::Usage(format!("{} holds {} matching Applications; name one of them", file.display(), found.len()))
    })?;
    if app.metadata.namespace.is_none() {
        app.metadata.namespace = namespace.map(str::to_owned);
    }
    // What runs is what the hub knows, whatever the file says.
    let key = key(&app);
    app.status = fleet.app(Some(&key.namespace), &key.name).ok().and_then(|known| known.status.clone());
    Ok(app)
}

/// One line per Application.
fn everybody(fleet: &Fleet, losses: &[Directive], args: &WhatIfArgs) -> Result<(), Failure> {
    let mut table = Table::new(["NAMESPACE", "NAME", "DESIRED", "LOST", "LEFT", "SURVIVES", "MOVED", "SHORTFALL"]);
    let mut values = Vec::new();
    let left_of_fleet = what_is_left(&fleet.topology, losses);
    for app in &fleet.apps {
        let Ok(question) = fleet.question(app) else { continue };
        let (gone, left) = split(&question, &lost(&question, &fleet.topology, losses));
        let outcome = question.decide(&left_of_fleet, losses);
        let moved = gone - outcome.shortfall.clamp(0, gone);
        let survives = if left >= question.replicas { "yes" } else { "no" };
        table.row([
            question.key.namespace.clone(),
            question.key.name.clone(),
            question.replicas.to_string(),
            gone.to_string(),
            left.to_string(),
            survives.to_owned(),
            moved.to_string(),
            outcome.shortfall.to_string(),
        ]);
        values.push(
            json!({ "namespace": question.key.namespace, "name": question.key.name, "desired": question.replicas,
            "lost": gone, "left": left, "shortfall": outcome.shortfall }),
        );
    }
    emit(&structured(args.output.output, &values)?.unwrap_or_else(|| table.render()))
}
