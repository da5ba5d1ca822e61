//! `meridian what-if`: what would happen if a place were lost, or an Application changed.

use std::collections::BTreeSet;

use crds::Application;
use domain::placement::{Directive, DirectiveTarget, Effect};
use domain::topology::{CellFacts, Topology};
use serde_json::json;
use vocabulary::CellName;

use super::fleet::{Fleet, Question, key};
use super::leaving::Leaving;
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
    let outcome = question.decide(&fleet.topology, &losses);
    let lost = lost(&question, &fleet.topology, &losses);
    let known = fleet.app(Some(&question.key.namespace), &question.key.name).ok();
    let leaving = known.and_then(|known| Leaving::of(known, &changed));
    if let Some(text) =
        structured(args.output.output, &json!({ "lost": lost, "leaving": leaving, "decision": outcome }))?
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

/// What is left at once, before anything moves.
fn survival(question: &Question, lost: &BTreeSet<CellName>) -> String {
    let (gone, left) = split(question, lost);
    let asked = asked(question);
    let verdict = if left >= asked { "enough" } else { "NOT enough" };
    format!(
        "At once: {gone} of {} replicas are lost, {left} are left: {verdict} for the {asked} asked for. DECIDED shows where they would go.\n",
        gone + left,
    )
}

/// Replicas asked for, of all components.
fn asked(question: &Question) -> i32 {
    let divided = if question.is_divided { question.replicas } else { 0 };
    divided.saturating_add(question.others.total())
}

fn split(question: &Question, lost: &BTreeSet<CellName>) -> (i32, i32) {
    let sum = |wanted: bool| -> i32 {
        let divided = question.previous.iter().map(|(cell, held)| (cell, held.target));
        let all = divided.chain(question.others.held.iter().map(|(cell, held)| (cell, *held)));
        all.filter(|(cell, _)| lost.contains(*cell) == wanted).map(|(_, held)| held).sum()
    };
    (sum(true), sum(false))
}

fn lost(question: &Question, topology: &Topology, losses: &[Directive]) -> BTreeSet<CellName> {
    let covered = |cell: &CellFacts| losses.iter().any(|loss| loss.target.covers(cell));
    let held = question.previous.keys().chain(question.others.held.keys());
    held.filter(|name| topology.cells.get(*name).is_some_and(covered)).cloned().collect()
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
    for app in &fleet.apps {
        let Ok(question) = fleet.question(app) else { continue };
        let lost = lost(&question, &fleet.topology, losses);
        let (gone, left) = split(&question, &lost);
        // What has a place of its own is not run elsewhere.
        let stuck: i32 = question.others.held.iter().filter(|(cell, _)| lost.contains(*cell)).map(|(_, n)| n).sum();
        let outcome = question.decide(&fleet.topology, losses);
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

/// A loss as typed, as directives that exclude what is lost.
fn loss(text: &str, topology: &Topology) -> Result<Vec<Directive>, Failure> {
    let usage = |message: String| Failure::Usage(format!("--lose {text}: {message}"));
    let (what, name) = text
        .split_once('=')
        .ok_or_else(|| usage("write zone=Z, zone=REGION/Z, region=R, cluster=C or cell=C".to_owned()))?;
    let targets: Vec<DirectiveTarget> = match what {
        "region" => vec![DirectiveTarget::Region { region: name.to_owned() }],
        "cluster" => vec![DirectiveTarget::Cluster { cluster: name.to_owned() }],
        "cell" => vec![DirectiveTarget::Cell { cell: name.to_owned() }],
        "zone" => {
            let (region, zone) = name.split_once('/').map_or((None, name), |(region, zone)| (Some(region), zone));
            let regions: BTreeSet<&str> = topology
                .cells
                .values()
                .filter(|cell| {
                    cell.zones.iter().any(|known| known == zone) && region.is_none_or(|region| region == cell.region)
                })
                .map(|cell| cell.region.as_str())
                .collect();
            if regions.len() > 1 {
                return Err(usage(format!("several regions have such a zone; write zone=REGION/{zone}")));
            }
            regions
                .into_iter()
                .map(|region| DirectiveTarget::Zone { region: region.to_owned(), zone: zone.to_owned() })
                .collect()
        }
        _ => return Err(usage(format!("{what} is not one of zone, region, cluster and cell"))),
    };
    let known = targets.iter().any(|target| topology.cells.values().any(|cell| target.covers(cell)));
    if !known {
        let zones: BTreeSet<String> = topology
            .cells
            .values()
            .flat_map(|cell| cell.zones.iter().map(move |zone| format!("{}/{zone}", cell.region)))
            .collect();
        return Err(usage(format!(
            "there is no such place; zones are {}",
            zones.into_iter().collect::<Vec<_>>().join(", ")
        )));
    }
    Ok(targets
        .into_iter()
        .map(|target| Directive {
            id: 0,
            target,
            app: None,
            effect: Effect::Exclude,
            owner: "what-if".to_owned(),
            reason: format!("{text} is lost"),
        })
        .collect())
}
