//! `meridian what-if`: shows the effect of losing a place, or of changing an Application.

use std::collections::BTreeMap;

use crds::Application;
use domain::placement::Directive;
use domain::topology::Topology;
use serde_json::json;
use vocabulary::CellName;

use super::fleet::{Fleet, Question, key};
use super::leaving::Leaving;
use super::losses::{loss, lost_of, what_is_left};
use super::tables;
use crate::args::WhatIfArgs;
use crate::documents::Documents;
use crate::failure::Failure;
use crate::hub::Hub;
use crate::output::{Table, structured};
use crate::progress::Progress;
use crate::shell::emit;

/// Runs `meridian what-if`.
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
    let known = fleet.app(Some(&question.key.namespace), &question.key.name).ok();
    let leaving = known.and_then(|known| Leaving::of(known, &changed));
    let names: Vec<&CellName> = lost.keys().collect();
    if let Some(text) =
        structured(args.output.output, &json!({ "lost": names, "leaving": leaving, "decision": outcome }))?
    {
        return emit(&text);
    }
    let mut text = tables::cells(&outcome, &fleet.display_names, args.output.output);
    text.push('\n');
    text.push_str(&tables::remarks(&outcome));
    if let Some(leaving) = &leaving {
        text.push_str(&leaving.text());
    }
    if !losses.is_empty() {
        text.push_str(&survival(&question, &lost));
    }
    emit(&text)
}

/// Reports how many replicas are left at once, before any replica moves.
fn survival(question: &Question, lost: &BTreeMap<CellName, Lost>) -> String {
    let (gone, left) = split(question, lost);
    let asked = asked(question);
    let verdict = if left >= asked { "enough" } else { "NOT enough" };
    format!(
        "At once: {gone} of {} replicas are lost, {left} are left: {verdict} for the {asked} asked for. DECIDED shows where they would go.\n",
        gone + left,
    )
}

/// Maximum number of replicas that a cell loses.
#[derive(Debug, Clone, Copy, Default)]
struct Lost {
    /// Replicas of the `Divided` component.
    divided: i32,
    /// Replicas of all other components.
    others: i32,
}

/// Returns the replicas that are asked for, of all components.
fn asked(question: &Question) -> i32 {
    let divided = if question.is_divided { question.replicas } else { 0 };
    divided.saturating_add(question.others.total())
}

/// Returns the replicas that are lost, and those that are left at once.
fn split(question: &Question, lost: &BTreeMap<CellName, Lost>) -> (i32, i32) {
    let gone: i32 = lost.values().map(|lost| lost.divided + lost.others).sum();
    let held: i32 = question.previous.values().map(|held| held.target).sum();
    (gone, held + question.others.total() - gone)
}

/// Returns the cells that lose replicas, with the number of each.
fn lost(question: &Question, topology: &Topology, losses: &[Directive]) -> BTreeMap<CellName, Lost> {
    let mut lost: BTreeMap<CellName, Lost> = BTreeMap::new();
    let of = |name: &CellName, replicas| lost_of(topology.cells.get(name)?, replicas, losses);
    for (name, held) in &question.previous {
        if let Some(divided) = of(name, held.target) {
            lost.entry(name.clone()).or_default().divided = divided;
        }
    }
    for (name, held) in &question.others.held {
        if let Some(others) = of(name, *held) {
            lost.entry(name.clone()).or_default().others = others;
        }
    }
    lost
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
    // The status is that of the fleet, because a file does not show what runs.
    let key = key(&app);
    app.status = fleet.app(Some(&key.namespace), &key.name).ok().and_then(|known| known.status.clone());
    Ok(app)
}

/// Prints one line per Application.
fn everybody(fleet: &Fleet, losses: &[Directive], args: &WhatIfArgs) -> Result<(), Failure> {
    let mut table = Table::new(["NAMESPACE", "NAME", "DESIRED", "LOST", "LEFT", "SURVIVES", "MOVED", "SHORTFALL"]);
    let mut values = Vec::new();
    let left_of_fleet = what_is_left(&fleet.topology, losses);
    for app in &fleet.apps {
        let Ok(question) = fleet.question(app) else { continue };
        let lost = lost(&question, &fleet.topology, losses);
        let (gone, left) = split(&question, &lost);
        // A component that has its own replicas in each cell does not run elsewhere instead.
        let stuck: i32 = lost.values().map(|lost| lost.others).sum();
        let outcome = question.decide(&left_of_fleet, losses);
        let shortfall = if question.is_divided { outcome.shortfall + stuck } else { outcome.shortfall };
        let moved = gone - shortfall.clamp(0, gone);
        let asked = asked(&question);
        let survives = if left >= asked { "yes" } else { "no" };
        table.row([
            question.key.namespace.clone(),
            question.key.name.clone(),
            asked.to_string(),
            gone.to_string(),
            left.to_string(),
            survives.to_owned(),
            moved.to_string(),
            shortfall.to_string(),
        ]);
        values.push(json!({ "namespace": question.key.namespace, "name": question.key.name, "desired": asked,
            "lost": gone, "left": left, "shortfall": shortfall }));
    }
    emit(&structured(args.output.output, &values)?.unwrap_or_else(|| table.render()))
}
